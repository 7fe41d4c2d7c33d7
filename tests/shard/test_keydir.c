#include "shard/keydir.h"
#include "tests/check_main.h"

#include <stdio.h>

static struct sc_slice key_of(char *room, unsigned number)
{
    return sc_slice(room, (size_t)snprintf(room, 32, "key%u", number));
}

static struct sc_location location_of(unsigned number)
{
    return (struct sc_location){number % SC_LOCATION_FILES_MAX, 8 + number % 1000 * 8,
                                (uint64_t)number * 8};
}

START_TEST(what_was_set_is_found_until_it_is_removed)
{
    enum { COUNT = 200000 };
    char room[32];
    struct sc_keydir *keydir = sc_keydir_alloc();
    struct sc_keydir_entry entry;
    struct sc_location old;
    sc_keydir_opened(keydir);
    for (unsigned i = 0; i < COUNT; i++) {
        struct sc_slice key = key_of(room, i);
        ck_assert(!sc_keydir_set(keydir, key, sc_slot_hash(key), location_of(i), 0, NULL));
    }
    sc_keydir_check(keydir);
    for (unsigned i = 0; i < COUNT; i++) {
        struct sc_slice key = key_of(room, i);
        ck_assert(sc_keydir_find(keydir, key, sc_slot_hash(key), &entry));
        ck_assert_uint_eq(entry.location.offset, (uint64_t)i * 8);
        if (i % 2 == 0) {
            ck_assert(sc_keydir_remove(keydir, key, sc_slot_hash(key), &old));
            ck_assert_uint_eq(old.offset, (uint64_t)i * 8);
            ck_assert(!sc_keydir_find(keydir, key, sc_slot_hash(key), &entry));
        }
    }
    ck_assert_uint_eq(sc_keydir_count(keydir), COUNT / 2);
    sc_keydir_check(keydir);
    sc_keydir_free(keydir);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keydir");
    TCase *tcase = tcase_create("keydir");
    tcase_add_test(tcase, what_was_set_is_found_until_it_is_removed);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
