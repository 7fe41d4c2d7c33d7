/* With room for few units in an arena, so that tables come to count in larger ones. */
#define SC_TABLE_UNITS_MAX 3000u
#include "shard/table.c"
#include "tests/check_main.h"
#include "tests/shard/keydir_keys.h"

enum { KEYS = 400 };

struct fixture {
    struct sc_blocks blocks;
    struct sc_table table;
    struct sc_slice keys[KEYS]; /* all of one slot */
};

static void fixture_init(struct fixture *fixture, bool versions)
{
    uint64_t seed = 1;
    sc_blocks_init(&fixture->blocks);
    fixture->table = (struct sc_table){.expires_ms = SC_TABLE_EXPIRES_NEVER, .versions = versions};
    for (size_t i = 0; i < KEYS; i++) {
        size_t size = 8 + i % 150 * (i % 10 == 0 ? 20 : 1);
        uint8_t *data = sc_calloc(1, size);
        do {
            sc_le64_put(data, test_random(&seed));
            fixture->keys[i] = sc_slice(data, size);
        } while (sc_slot_of_key(fixture->keys[i]) != 1);
    }
}

static void fixture_fini(struct fixture *fixture)
{
    sc_table_clear(&fixture->table, &fixture->blocks);
    sc_blocks_fini(&fixture->blocks);
    for (size_t i = 0; i < KEYS; i++) {
        free((void *)fixture->keys[i].data);
    }
}

static bool search_key(struct fixture *fixture, size_t index, struct sc_table_target *target,
                       uint32_t *at)
{
    struct sc_slice key = fixture->keys[index];
    *target = (struct sc_table_target){key, sc_slot_hash(key), false};
    return sc_table_search(&fixture->table, target, at);
}

static void insert_key(struct fixture *fixture, size_t index, uint64_t expires_ms)
{
    struct sc_table_value value = {index, expires_ms, index + 1, false};
    struct sc_table_target target;
    uint32_t at;
    ck_assert(!search_key(fixture, index, &target, &at));
    sc_table_insert(&fixture->table, &fixture->blocks, &target, at, &value);
}

static void assert_key(struct fixture *fixture, size_t index, uint64_t expires_ms)
{
    struct sc_table_target target;
    struct sc_table_value value;
    struct sc_slice key;
    uint32_t at;
    ck_assert(search_key(fixture, index, &target, &at));
    sc_table_get(&fixture->table, at, &key, &value);
    ck_assert(sc_slice_equal(key, fixture->keys[index]));
    ck_assert_uint_eq(value.location, index);
    ck_assert_uint_eq(value.expires_ms, expires_ms);
    ck_assert_uint_eq(value.version, fixture->table.versions ? index + 1 : 0);
}

START_TEST(larger_units_hold_more)
{
    struct fixture fixture;
    fixture_init(&fixture, _i > 0);
    for (size_t i = 0; i < KEYS; i++) {
        insert_key(&fixture, i, i % 3);
        sc_table_check(&fixture.table);
    }
    ck_assert_uint_ge(fixture.table.unit_shift, 4);
    sc_table_drop_versions(&fixture.table, &fixture.blocks);
    for (size_t i = 0; i < KEYS; i++) {
        assert_key(&fixture, i, i % 3);
    }
    for (size_t i = 0; i < KEYS; i++) {
        struct sc_table_target target;
        uint32_t at;
        ck_assert(search_key(&fixture, i, &target, &at));
        if (i % 2 == 0) {
            sc_table_remove(&fixture.table, at);
            sc_table_trim(&fixture.table, &fixture.blocks);
        } else {
            struct sc_table_value value = {i, (i + 1) % 3, 0, false};
            sc_table_update(&fixture.table, &fixture.blocks, &target, at, &value);
        }
        sc_table_check(&fixture.table);
    }
    for (size_t i = 1; i < KEYS; i += 2) {
        assert_key(&fixture, i, (i + 1) % 3);
    }
    fixture_fini(&fixture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("table");
    TCase *tcase = tcase_create("table");
    tcase_add_loop_test(tcase, larger_units_hold_more, 0, 2);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
