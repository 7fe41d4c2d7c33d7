#include "shard/mapping.h"

#include "shard/warmth.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096u
#define PAGES 200u
#define SIZE ((size_t)PAGES * PAGE)

static char dir[256];
static char path[300];
static int fd;
static struct sc_mapping mapping;
static uint8_t bytes[SIZE];
static uint8_t got[SIZE];

static void setup(void)
{
    temporary_dir(dir);
    (void)snprintf(path, sizeof path, "%s/file", dir);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (uint8_t)(i * 31 + i / PAGE);
    }
    file_write(path, bytes, SIZE);
    fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    mapping = (struct sc_mapping){0};
    sc_mapping_map(&mapping, fd, SIZE);
    ck_assert_ptr_nonnull(mapping.base);
}

static void teardown(void)
{
    sc_mapping_unmap(&mapping);
    (void)close(fd);
    dir_remove(dir);
}

static bool read_at(uint64_t offset, size_t size)
{
    memset(got, 0, size);
    return sc_mapping_read(&mapping, offset, got, size) && memcmp(got, bytes + offset, size) == 0;
}

static void cut(off_t size)
{
    ck_assert_int_eq(ftruncate(fd, size), 0);
}

/* Looks to the end; how many pages were gone. */
static uint64_t look(void)
{
    uint64_t known = 0;
    uint64_t gone = 0;
    while (sc_mapping_look(&mapping, &known, &gone)) {
    }
    return gone;
}

START_TEST(nothing_is_read_before_it_was_noted)
{
    ck_assert(!read_at(0, 100));
    sc_mapping_note(&mapping, 0, 100);
    ck_assert(read_at(0, 100));
    ck_assert(read_at(8, PAGE - 8));
}
END_TEST

START_TEST(what_is_not_mapped_is_not_read)
{
    sc_mapping_note(&mapping, SIZE - 8, 16);
    ck_assert(!read_at(SIZE - 8, 16));
    sc_mapping_note(&mapping, SIZE + PAGE, 16);
    ck_assert(!sc_mapping_read(&mapping, SIZE + PAGE, got, 16));
    struct sc_mapping none = {0};
    sc_mapping_note(&none, 0, 16);
    ck_assert(!sc_mapping_read(&none, 0, got, 16));
    sc_mapping_prefetch(&none, 0, 16);
    sc_mapping_unmap(&none);
}
END_TEST

START_TEST(all_pages_of_a_read_must_be_known)
{
    cut(0); /* so that the kernel knows of no neighbours */
    sc_mapping_note(&mapping, 0, 1);
    cut(SIZE);
    ck_assert(!read_at(PAGE - 8, 16));
    sc_mapping_note(&mapping, PAGE, 1);
    ck_assert(sc_mapping_read(&mapping, PAGE - 8, got, 16));
}
END_TEST

START_TEST(a_file_that_grows_is_read_where_it_has_grown)
{
    cut(PAGE);
    sc_mapping_note(&mapping, 0, 100);
    ck_assert(read_at(0, 100));
    ck_assert_int_eq(pwrite(fd, bytes + PAGE, PAGE, PAGE), PAGE);
    sc_mapping_note(&mapping, PAGE, 100);
    ck_assert(read_at(PAGE - 50, 100));
}
END_TEST

START_TEST(pages_that_left_memory_are_found_by_looking)
{
    sc_mapping_note(&mapping, 0, SIZE);
    ck_assert_uint_eq(look(), 0);
    ck_assert(read_at(0, SIZE));
    cut(100 * PAGE);
    ck_assert_uint_eq(look(), PAGES - 100);
    ck_assert(read_at(0, 100 * PAGE));
    ck_assert(!read_at(100 * PAGE, 8));
    ck_assert_uint_eq(look(), 0);
}
END_TEST

START_TEST(mapping_in_which_nothing_is_left_is_undone)
{
    sc_mapping_note(&mapping, 0, SIZE);
    cut(0);
    ck_assert_uint_eq(look(), PAGES);
    ck_assert_uint_eq(look(), 0);
    ck_assert_ptr_null(mapping.base);
    ck_assert(!mapping.broken);
    cut(SIZE);
    sc_mapping_map(&mapping, fd, SIZE);
    sc_mapping_note(&mapping, 0, 8);
    ck_assert(sc_mapping_read(&mapping, 0, got, 8));
}
END_TEST

/* What the disk cannot bring and what somebody has cut off look the same to a process. */
START_TEST(page_that_cannot_be_had_makes_a_read_fail_and_nothing_else)
{
    sc_mapping_note(&mapping, 0, SIZE);
    cut(PAGE);
    ck_assert(!sc_mapping_read(&mapping, PAGE / 2, got, PAGE));
    ck_assert(mapping.broken);
    ck_assert_ptr_null(mapping.base);
    ck_assert(!sc_mapping_read(&mapping, 0, got, 8));
    sc_mapping_map(&mapping, fd, SIZE);
    ck_assert_ptr_null(mapping.base);
}
END_TEST

static sigjmp_buf back;

static void handle(int number)
{
    (void)number;
    siglongjmp(back, 1);
}

START_TEST(other_bus_errors_go_to_the_handler_before)
{
    /* main() has installed `handle` before the first mapping was made. */
    volatile bool handled = false;
    uint8_t *other = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(other, MAP_FAILED);
    cut(0);
    if (sigsetjmp(back, 1) == 0) {
        got[0] = *(volatile uint8_t *)other;
    } else {
        handled = true;
    }
    ck_assert(handled);
    (void)munmap(other, PAGE);
}
END_TEST

/* ---- The files of a store ---- */

static struct sc_segment segment;
static struct sc_segment *segments[2] = {NULL, &segment};
static struct sc_warmth warmth;

static void setup_warmth(void)
{
    setup();
    segment = (struct sc_segment){.fd = fd};
    sc_warmth_init(&warmth, segments);
}

static void teardown_warmth(void)
{
    sc_mapping_unmap(&segment.mapping);
    teardown();
}

static void note(uint64_t offset, size_t size)
{
    sc_warmth_note(&warmth, 2, &segment, SIZE, offset, size);
}

static bool read_warm(uint64_t offset)
{
    return sc_warmth_read(&warmth, &segment, offset, got, 8);
}

START_TEST(segment_is_mapped_when_it_is_read)
{
    ck_assert(!read_warm(0));
    note(0, 8);
    ck_assert(read_warm(0));
    ck_assert_uint_eq(segment.mapping.size, SIZE);
}
END_TEST

START_TEST(no_more_is_mapped_than_may_be)
{
    warmth.mapped_max = SIZE - 1;
    note(0, 8);
    ck_assert_ptr_null(segment.mapping.base);
    warmth.mapped_max = SIZE;
    note(0, 8);
    ck_assert_ptr_null(segment.mapping.base); /* till the next round of looks */
    sc_warmth_look(&warmth, 2);
    note(0, 8);
    ck_assert(read_warm(0));
}
END_TEST

START_TEST(mappings_are_not_used_while_pages_are_evicted)
{
    note(0, SIZE);
    sc_warmth_look(&warmth, 2);
    ck_assert(read_warm(0));
    cut(PAGE);
    sc_warmth_look(&warmth, 2);
    ck_assert(!read_warm(0));
    sc_warmth_look(&warmth, 2);
    ck_assert(!read_warm(0));
    warmth.evicted_ns = 0; /* long ago */
    sc_warmth_look(&warmth, 2);
    ck_assert(read_warm(0));
}
END_TEST

/* ---- A store ---- */

static struct fixture f;

static void setup_store(void)
{
    fixture_init(&f);
    fixture_open(&f);
}

static void teardown_store(void)
{
    fixture_fini(&f);
}

START_TEST(files_that_are_read_are_seen_as_memory)
{
    char key[16];
    char value[16];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)snprintf(value, sizeof value, "v%d", i);
        put(&f, key, value);
        expect(&f, key, value); /* where the file has just grown */
    }
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)snprintf(value, sizeof value, "v%d", i);
        expect(&f, key, value);
    }
    sc_bitcask_look(f.store);
    expect(&f, "k0", "v0");
}
END_TEST

START_TEST(what_is_looked_at_ahead_is_the_same)
{
    uint64_t hashes[100] = {0};
    char key[16];
    sc_bitcask_prefetch(f.store, hashes, 0, true);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 100; i++) {
            (void)snprintf(key, sizeof key, "k%d", i);
            hashes[i] = sc_slot_hash(sc_slice_str(key));
        }
        sc_bitcask_prefetch(f.store, hashes, 100, round % 2 == 0); /* first of an empty store */
        for (int i = 0; i < 100; i++) {
            (void)snprintf(key, sizeof key, "k%d", i);
            expect(&f, key, round == 0 || i % 3 == 0 ? NULL : key);
            if (i % 3 != 0) {
                put(&f, key, key);
            }
        }
    }
}
END_TEST

START_TEST(damage_under_a_mapping_is_found)
{
    char data[512];
    const char *value;
    put(&f, "a", "one");
    put(&f, "b", "two");
    expect(&f, "a", "one");
    expect(&f, "b", "two");
    data_path(f.dir, 0, data);
    quiet();
    file_flip(data, SC_SEGMENT_HEADER_SIZE + 34, 1); /* in the value of a */
    ck_assert_int_eq(get(&f, "a", &value), SC_CORRUPT);
    expect(&f, "b", "two");
    file_flip(data, SC_SEGMENT_HEADER_SIZE + 34, 1);
    expect(&f, "a", "one");
}
END_TEST

START_TEST(file_that_was_cut_off_under_a_mapping_is_damage)
{
    char data[512];
    const char *value;
    put(&f, "a", "one");
    expect(&f, "a", "one");
    expect(&f, "a", "one");
    data_path(f.dir, 0, data);
    quiet();
    ck_assert_int_eq(truncate(data, 0), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(get(&f, "a", &value), SC_CORRUPT);
    }
}
END_TEST

int main(void)
{
    struct sigaction action = {.sa_handler = handle};
    (void)sigaction(SIGBUS, &action, NULL);
    Suite *suite = suite_create("mapping");
    TCase *tcase = tcase_create("mapping");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, nothing_is_read_before_it_was_noted);
    tcase_add_test(tcase, what_is_not_mapped_is_not_read);
    tcase_add_test(tcase, all_pages_of_a_read_must_be_known);
    tcase_add_test(tcase, a_file_that_grows_is_read_where_it_has_grown);
    tcase_add_test(tcase, pages_that_left_memory_are_found_by_looking);
    tcase_add_test(tcase, mapping_in_which_nothing_is_left_is_undone);
    tcase_add_test(tcase, page_that_cannot_be_had_makes_a_read_fail_and_nothing_else);
    tcase_add_test(tcase, other_bus_errors_go_to_the_handler_before);
    suite_add_tcase(suite, tcase);
    TCase *segments_case = tcase_create("warmth");
    tcase_add_checked_fixture(segments_case, setup_warmth, teardown_warmth);
    tcase_add_test(segments_case, segment_is_mapped_when_it_is_read);
    tcase_add_test(segments_case, no_more_is_mapped_than_may_be);
    tcase_add_test(segments_case, mappings_are_not_used_while_pages_are_evicted);
    suite_add_tcase(suite, segments_case);
    TCase *store_case = tcase_create("store");
    tcase_add_checked_fixture(store_case, setup_store, teardown_store);
    tcase_add_test(store_case, files_that_are_read_are_seen_as_memory);
    tcase_add_test(store_case, what_is_looked_at_ahead_is_the_same);
    tcase_add_test(store_case, damage_under_a_mapping_is_found);
    tcase_add_test(store_case, file_that_was_cut_off_under_a_mapping_is_damage);
    suite_add_tcase(suite, store_case);
    return sc_check_main(suite);
}
