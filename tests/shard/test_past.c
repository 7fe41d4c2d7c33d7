/* Looking back at a keydir: a model remembers what there was at each moment. */
#include "shard/keydir.h"
#include "tests/check_main.h"
#include "tests/random.h"

#include <inttypes.h>
#include <string.h>

enum { KEYS = 600, PASTS = 3, STEPS = 4000 };

/* What a key has; no location: it is not there. */
struct value {
    uint64_t location;
    uint64_t expires_ms;
};

struct moment {
    struct sc_past *past; /* NULL: not open */
    struct value values[KEYS];
    uint8_t slots[SC_SLOT_COUNT / 8];
    uint32_t first_slot; /* what was passed is not looked at */
};

struct fixture {
    struct sc_keydir *keydir;
    char keys[KEYS][16]; /* in the order of a scan */
    struct value values[KEYS];
    struct moment moments[PASTS];
    uint64_t next_location;
    struct test_random random;
};

static struct sc_slice key_at(const struct fixture *f, size_t i)
{
    return sc_slice_str(f->keys[i]);
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t left = sc_slot_hash(sc_slice_str(a));
    uint64_t right = sc_slot_hash(sc_slice_str(b));
    return left < right ? -1 : left > right;
}

/* All keys are in a few slots, so that each has many. */
static struct fixture *fixture_alloc(const char *name)
{
    struct fixture *f = sc_calloc(1, sizeof *f);
    f->random = test_random_start(name);
    f->keydir = sc_keydir_alloc();
    sc_keydir_opened(f->keydir, NULL, NULL);
    f->next_location = 1;
    size_t count = 0;
    for (unsigned n = 0; count < KEYS; n++) {
        snprintf(f->keys[count], sizeof f->keys[count], "key-%u", n);
        count += sc_slot_of_key(key_at(f, count)) % 2000 == 7 ? 1 : 0;
    }
    qsort(f->keys, KEYS, sizeof f->keys[0], compare_keys);
    return f;
}

static void close_past(struct fixture *f, struct moment *moment)
{
    sc_keydir_past_close(f->keydir, moment->past);
    moment->past = NULL;
}

static void fixture_free(struct fixture *f)
{
    for (size_t i = 0; i < PASTS; i++) {
        if (f->moments[i].past != NULL) {
            close_past(f, &f->moments[i]);
        }
    }
    sc_keydir_check(f->keydir);
    sc_keydir_free(f->keydir);
    free(f);
}

static struct sc_location location_of(uint64_t number)
{
    return (struct sc_location){.file = 1, .size = 8, .offset = number * 8};
}

static void set(struct fixture *f, size_t i, uint64_t expires_ms)
{
    struct sc_location at = location_of(f->next_location);
    sc_keydir_set(f->keydir, key_at(f, i), sc_slot_hash(key_at(f, i)), at, expires_ms, 0, NULL);
    f->values[i] = (struct value){f->next_location++, expires_ms};
}

static void set_some(struct fixture *f, size_t i)
{
    set(f, i, test_random_below(&f->random, 3) == 0 ? 1 + test_random_below(&f->random, 1000) : 0);
}

static void remove_key(struct fixture *f, size_t i)
{
    sc_keydir_remove(f->keydir, key_at(f, i), sc_slot_hash(key_at(f, i)), NULL);
    f->values[i] = (struct value){0};
}

/* The record is copied elsewhere: who looks back finds it there. */
static void relocate(struct fixture *f, size_t i)
{
    if (f->values[i].location == 0) {
        return;
    }
    bool moved =
        sc_keydir_relocate(f->keydir, key_at(f, i), sc_slot_hash(key_at(f, i)),
                           location_of(f->values[i].location), location_of(f->next_location));
    ck_assert(moved);
    for (size_t m = 0; m < PASTS; m++) {
        struct value *then = &f->moments[m].values[i];
        if (then->location == f->values[i].location) {
            then->location = f->next_location;
        }
    }
    f->values[i].location = f->next_location++;
}

static void drop_slot(struct fixture *f, uint32_t slot)
{
    sc_keydir_drop_slot(f->keydir, slot, NULL, NULL);
    for (size_t i = 0; i < KEYS; i++) {
        if (sc_slot_of_key(key_at(f, i)) == slot) {
            f->values[i] = (struct value){0};
        }
    }
}

static void open_past(struct fixture *f, struct moment *moment, bool some_slots)
{
    memset(moment->slots, 0xff, sizeof moment->slots);
    for (size_t i = 0; i < sizeof moment->slots && some_slots; i++) {
        moment->slots[i] = (uint8_t)test_random_next(&f->random);
    }
    moment->first_slot = 0;
    memcpy(moment->values, f->values, sizeof moment->values);
    moment->past = sc_keydir_past_open(f->keydir, some_slots ? moment->slots : NULL, 0);
}

/* ---- Walks ---- */

struct walk {
    const struct fixture *f;
    const struct moment *moment;
    size_t next; /* key */
    size_t left; /* entries until the visitor ends the walk */
};

/* The next key that was there, at or behind the one at hand. */
static size_t expected(const struct walk *walk)
{
    const struct moment *moment = walk->moment;
    size_t i = walk->next;
    while (i < KEYS) {
        uint32_t slot = sc_slot_of_key(key_at(walk->f, i));
        bool covered = (moment->slots[slot / 8] >> (slot % 8) & 1) != 0;
        if (covered && moment->values[i].location != 0) {
            break;
        }
        i++;
    }
    return i;
}

static bool visit(void *arg, const struct sc_keydir_entry *entry)
{
    struct walk *walk = arg;
    if (walk->left == 0) {
        return false;
    }
    if (entry->location.size == 0) {
        return true; /* it was not there */
    }
    size_t i = expected(walk);
    must(i < KEYS);
    const struct value *value = &walk->moment->values[i];
    must(sc_slice_equal(entry->key, key_at(walk->f, i)));
    must(entry->hash == sc_slot_hash(entry->key));
    must(entry->location.offset == value->location * 8);
    must(entry->expires_ms == value->expires_ms);
    walk->next = i + 1;
    walk->left--;
    return true;
}

/* Walks over everything that was not passed, in pages. */
static void check_past(struct fixture *f, const struct moment *moment)
{
    struct walk walk = {.f = f, .moment = moment};
    struct sc_keydir_position position = {.hash = (uint64_t)moment->first_slot << 50};
    while (walk.next < KEYS && sc_slot_of_key(key_at(f, walk.next)) < moment->first_slot) {
        walk.next++;
    }
    bool end;
    do {
        walk.left = 1 + test_random_below(&f->random, 200);
        end = sc_keydir_walk_past(f->keydir, moment->past, &position, UINT64_MAX, visit, &walk);
        if (walk.next > 0) {
            position.key = key_at(f, walk.next - 1);
            position.hash = sc_slot_hash(position.key);
        }
    } while (!end);
    ck_assert_uint_eq(expected(&walk), KEYS);
}

/* ---- Tests ---- */

static void step(struct fixture *f)
{
    size_t i = test_random_below(&f->random, KEYS);
    struct moment *moment = &f->moments[test_random_below(&f->random, PASTS)];
    uint64_t dice = test_random_below(&f->random, 1000);
    if (dice < 500) {
        set_some(f, i);
    } else if (dice < 800) {
        remove_key(f, i);
    } else if (dice < 960) {
        relocate(f, i);
    } else if (dice < 970) {
        drop_slot(f, sc_slot_of_key(key_at(f, i)));
    } else if (moment->past == NULL) {
        open_past(f, moment, dice % 2 == 0);
    } else if (dice < 985) {
        check_past(f, moment);
    } else if (dice < 993) {
        uint32_t slot = sc_slot_of_key(key_at(f, i));
        moment->first_slot = slot > moment->first_slot ? slot : moment->first_slot;
        sc_past_pass(moment->past, slot);
    } else {
        close_past(f, moment);
    }
}

START_TEST(what_there_was_is_found_whatever_happens_later)
{
    struct fixture *f = fixture_alloc("past");
    for (size_t i = 0; i < KEYS; i += 2) {
        set_some(f, i);
    }
    for (size_t i = 0; i < STEPS; i++) {
        step(f);
    }
    for (size_t i = 0; i < PASTS; i++) {
        if (f->moments[i].past != NULL) {
            check_past(f, &f->moments[i]);
        }
    }
    fixture_free(f);
}
END_TEST

START_TEST(what_does_not_change_takes_no_memory)
{
    struct fixture *f = fixture_alloc("memory");
    for (size_t i = 0; i < KEYS; i++) {
        set(f, i, 0);
    }
    struct moment *moment = &f->moments[0];
    open_past(f, moment, false);
    for (size_t i = 0; i < KEYS; i++) {
        relocate(f, i);
    }
    check_past(f, moment);
    ck_assert_uint_eq(moment->past->blocks.memory, 0);
    set(f, 0, 0);
    ck_assert_uint_gt(moment->past->blocks.memory, 0);
    fixture_free(f);
}
END_TEST

START_TEST(expired_keys_that_are_swept_are_absent_from_the_past_too)
{
    struct fixture *f = fixture_alloc("expiry");
    set(f, 0, 100);
    set(f, 1, 200);
    struct moment *moment = &f->moments[0];
    open_past(f, moment, false);
    sc_keydir_sweep_slot(f->keydir, sc_slot_of_key(key_at(f, 0)), 100, NULL, NULL);
    moment->values[0] = (struct value){0};
    f->values[0] = (struct value){0};
    check_past(f, moment);
    set(f, 0, 0); /* ... and stay so */
    check_past(f, moment);
    fixture_free(f);
}
END_TEST

START_TEST(a_past_that_needs_too_much_memory_is_broken_and_takes_none)
{
    struct fixture *f = fixture_alloc("limit");
    for (size_t i = 0; i < KEYS; i++) {
        set(f, i, 0);
    }
    f->moments[0].past = sc_keydir_past_open(f->keydir, NULL, 1);
    f->moments[1].past = sc_keydir_past_open(f->keydir, NULL, 1);
    struct moment *whole = &f->moments[2];
    open_past(f, whole, false);
    set(f, 0, 0);
    ck_assert(f->moments[0].past->broken);
    drop_slot(f, sc_slot_of_key(key_at(f, 1)));
    for (size_t i = 0; i < 2; i++) {
        ck_assert(f->moments[i].past->broken);
        ck_assert_uint_le(f->moments[i].past->blocks.memory, 1 << 20); /* spare chunks */
    }
    ck_assert(!whole->past->broken);
    check_past(f, whole);
    fixture_free(f);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("past");
    tcase_add_test(tests, what_there_was_is_found_whatever_happens_later);
    tcase_add_test(tests, what_does_not_change_takes_no_memory);
    tcase_add_test(tests, expired_keys_that_are_swept_are_absent_from_the_past_too);
    tcase_add_test(tests, a_past_that_needs_too_much_memory_is_broken_and_takes_none);
    Suite *suite = suite_create("past");
    suite_add_tcase(suite, tests);
    return sc_check_main(suite);
}
