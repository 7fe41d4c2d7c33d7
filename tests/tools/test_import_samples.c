/* Directories and files written by the other stores themselves: what comes out is exactly what is
 * expected. See data/README.md. */
#include "tests/tools/import_fixture.h"

struct expected {
    struct found *found;
    size_t count;
    char (*kinds)[64];
};

/* Reads NAME.expected; of several databases only the lines of `db`. */
static void read_expected(struct expected *expected, const char *name, uint64_t db)
{
    char path[PATH_MAX + 128];
    char line[256];
    *expected = (struct expected){0};
    snprintf(path, sizeof path, "%s.expected", sample_path(name));
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s", path);
    while (fgets(line, sizeof line, file) != NULL) {
        char value[32];
        char kind[64] = "";
        struct found found = {0};
        uint64_t in_db = 0;
        ck_assert_int_ge(sscanf(line, "%" SCNx64 " %31s %" SCNu64 " %" SCNu64 " %63[^\n]",
                                &found.key, value, &found.expire_ms, &in_db, kind),
                         4);
        if (in_db != db) {
            continue;
        }
        found.imported = strcmp(value, "-") != 0;
        found.value = found.imported ? strtoull(value, NULL, 16) : 0;
        size_t n = expected->count++;
        expected->found = sc_realloc(expected->found, (n + 1) * sizeof *expected->found);
        expected->kinds = sc_realloc(expected->kinds, (n + 1) * sizeof *expected->kinds);
        expected->found[n] = found;
        memcpy(expected->kinds[n], kind, sizeof kind);
    }
    fclose(file);
}

static void expected_fini(struct expected *expected)
{
    free(expected->found);
    free(expected->kinds);
}

static void check_one(const struct found *found, const struct found *wanted, const char *kind)
{
    ck_assert_msg(found->imported == wanted->imported, "key %016" PRIx64 " %s", wanted->key,
                  wanted->imported ? "is left out" : "is imported");
    ck_assert_msg(found->value == wanted->value, "key %016" PRIx64 " has a wrong value",
                  wanted->key);
    if (!wanted->imported) {
        ck_assert_str_eq(sc_import_kind_text(found->kind), kind);
    }
    ck_assert_msg(found->expire_ms == wanted->expire_ms,
                  "key %016" PRIx64 " expires at %" PRIu64 " instead of %" PRIu64, wanted->key,
                  found->expire_ms, wanted->expire_ms);
}

/* Compares keys, values and expiries. What was left out and is no line of the file is skipped. */
static void check_keys(const struct outcome *outcome, const struct expected *expected)
{
    size_t at = 0;
    for (size_t i = 0; i < outcome->count; i++) {
        const struct found *found = &outcome->found[i];
        if (at < expected->count && found->key == expected->found[at].key) {
            check_one(found, &expected->found[at], expected->kinds[at]);
            at++;
            continue;
        }
        ck_assert_msg(!found->imported, "key %016" PRIx64 " is not expected", found->key);
    }
    ck_assert_msg(at == expected->count, "key %016" PRIx64 " is missing",
                  at < expected->count ? expected->found[at].key : 0);
}

struct sample {
    const char *name;
    int64_t db;
    bool salvage;
    /* What must be left out or noted besides what the expected file says: kinds with their counts,
     * the last with count 0; everything else must not occur. */
    struct {
        enum sc_import_kind kind;
        uint64_t count;
    } kinds[12];
};

#define ODD_VALUES                                                             \
    {SC_IMPORT_EMPTY_KEY, 1}, {SC_IMPORT_LONG_KEY, 1}, {SC_IMPORT_INTEGER, 2}, \
        {SC_IMPORT_NESTING, 1},                                                \
    {                                                                          \
        SC_IMPORT_VALUE_TEXT, 1                                                \
    }

/* clang-format off */
static const struct sample samples[] = {
    {"pybitcask-proto/plain", -1, false, {{0, 0}}},
    {"pybitcask-proto/reopened", -1, false, {{0, 0}}},
    {"pybitcask-proto/torn", -1, false, {{SC_IMPORT_STRETCH, 1}}},
    {"pybitcask-proto/compacted", -1, false, {{0, 0}}},
    {"pybitcask-proto/odd", -1, false, {ODD_VALUES}},
    {"pybitcask-json/plain", -1, false, {{0, 0}}},
    {"pybitcask-json/reopened", -1, false, {{0, 0}}},
    {"pybitcask-json/torn", -1, false, {{SC_IMPORT_STRETCH, 1}}},
    {"pybitcask-json/compacted", -1, false, {{0, 0}}},
    {"pybitcask-json/odd", -1, false, {ODD_VALUES, {SC_IMPORT_KEY_TEXT, 1}}},
    {"pybitcask-mixed/switched", -1, false, {{0, 0}}},
    {"basho-bitcask/unmerged", -1, false, {{0, 0}}},
    {"basho-bitcask/merged", -1, false, {{0, 0}}},
    {"basho-bitcask/partial-merge", -1, false, {{0, 0}}},
    {"basho-bitcask/nohint", -1, false, {{0, 0}}},
    {"basho-bitcask/unclean", -1, false, {{0, 0}}},
    {"basho-bitcask/torn", -1, false, {{SC_IMPORT_DAMAGED, 1}}},
    {"basho-bitcask/damaged", -1, false, {{SC_IMPORT_DAMAGED, 5}, {SC_IMPORT_HARMLESS, 1}}},
    {"basho-bitcask/damaged-nohint", -1, false,
     {{SC_IMPORT_DAMAGED, 3}, {SC_IMPORT_HARMLESS, 1}, {SC_IMPORT_STRETCH, 1}}},
    {"basho-bitcask/old-tombstones", -1, false, {{0, 0}}},
    {"basho-bitcask/pending-delete", -1, false, {{SC_IMPORT_MERGED, 5}}},
    {"redis.rdb", -1, false,
     {{SC_IMPORT_REDIS_HASH, 33}, {SC_IMPORT_REDIS_LIST, 22}, {SC_IMPORT_REDIS_SET, 41},
      {SC_IMPORT_REDIS_STREAM, 4}, {SC_IMPORT_REDIS_ZSET, 33}, {SC_IMPORT_REDIS_FUNCTION, 1},
      {SC_IMPORT_EXPIRED, 83}}},
    {"redis-multidb.rdb", 0, false, {{0, 0}}},
    {"redis-multidb.rdb", 1, false, {{0, 0}}},
    {"redis-multidb.rdb", 2, false, {{0, 0}}},
    {"redis-lru.rdb", -1, false,
     {{SC_IMPORT_REDIS_SET, 1}, {SC_IMPORT_REDIS_ZSET, 1}, {SC_IMPORT_EXPIRED, 3}}},
    {"redis-lfu.rdb", -1, false,
     {{SC_IMPORT_REDIS_SET, 1}, {SC_IMPORT_REDIS_ZSET, 1}, {SC_IMPORT_EXPIRED, 8}}},
    {"redis-torn.rdb", -1, true, {{SC_IMPORT_EXPIRED, 9}, {SC_IMPORT_STRETCH, 1}}},
    {"redis-badsum.rdb", -1, true,
     {{SC_IMPORT_REDIS_SET, 1}, {SC_IMPORT_REDIS_ZSET, 1}, {SC_IMPORT_EXPIRED, 3},
      {SC_IMPORT_CHECKSUM, 1}}},
};
/* clang-format on */
#define SAMPLES_COUNT (sizeof samples / sizeof *samples)

/* Only a part of the samples comes with the sources; SC_TEST_DATA may name a directory of all. */
static bool is_there(const char *name)
{
    struct stat info;
    return stat(sample_path(name), &info) == 0;
}

START_TEST(a_sample_gives_exactly_what_is_expected)
{
    const struct sample *sample = &samples[_i];
    if (!is_there(sample->name)) {
        return;
    }
    struct expected expected;
    const struct sc_import_format *format = sc_import_detect(sample_path(sample->name));
    ck_assert_ptr_nonnull(format);
    struct outcome outcome =
        import_with(format, sample_path(sample->name),
                    (struct sc_import_options){.db = sample->db, .salvage = sample->salvage});
    ck_assert_msg(!outcome.failed, "%s: %s", sample->name, outcome.why);
    read_expected(&expected, sample->name, sample->db < 0 ? 0 : (uint64_t)sample->db);
    check_keys(&outcome, &expected);
    if (sample->db < 0) {
        for (size_t i = 0; sample->kinds[i].count > 0; i++) {
            ck_assert_msg(outcome.kinds[sample->kinds[i].kind] == sample->kinds[i].count,
                          "%s: %" PRIu64 " of kind %s", sample->name,
                          outcome.kinds[sample->kinds[i].kind],
                          sc_import_kind_text(sample->kinds[i].kind));
            outcome.kinds[sample->kinds[i].kind] = 0;
        }
        for (unsigned kind = 0; kind < SC_IMPORT_KINDS; kind++) {
            ck_assert_msg(outcome.kinds[kind] == 0, "%s: %" PRIu64 " of kind %s", sample->name,
                          outcome.kinds[kind], sc_import_kind_text((enum sc_import_kind)kind));
        }
    }
    expected_fini(&expected);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(formats_are_found_by_what_is_there)
{
    ck_assert_ptr_eq(sc_import_detect(sample_path("pybitcask-json/torn")), &sc_import_pybitcask);
    ck_assert_ptr_eq(sc_import_detect(sample_path("basho-bitcask/torn")), &sc_import_basho);
    ck_assert_ptr_eq(sc_import_detect(sample_path("redis-torn.rdb")), &sc_import_rdb);
    ck_assert_ptr_eq(sc_import_detect(sample_path("redis-torn.rdb.expected")), &sc_import_jsonl);
    ck_assert_ptr_eq(sc_import_detect("-"), &sc_import_jsonl);
    ck_assert_ptr_null(sc_import_detect(sample_path("basho-bitcask")));
    ck_assert_ptr_eq(sc_import_format("rdb"), &sc_import_rdb);
    ck_assert_ptr_null(sc_import_format("auto"));
}
END_TEST

START_TEST(keys_of_other_databases_are_counted)
{
    struct outcome outcome = import_with(&sc_import_rdb, sample_path("redis-multidb.rdb"),
                                         (struct sc_import_options){.db = 1});
    ck_assert(!outcome.failed);
    ck_assert_uint_gt(outcome.kinds[SC_IMPORT_OTHER_DB], 0);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(keys_of_several_databases_are_not_mixed)
{
    struct outcome outcome = import_path(&sc_import_rdb, sample_path("redis-multidb.rdb"));
    ck_assert(outcome.failed);
    ck_assert_ptr_nonnull(strstr(outcome.why, "--db"));
    ck_assert_uint_eq(outcome.count, 0);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_damaged_rdb_file_is_refused_before_anything_is_imported)
{
    const char *const names[] = {"redis-torn.rdb", "redis-badsum.rdb"};
    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome = import_path(&sc_import_rdb, sample_path(names[i]));
        ck_assert(outcome.failed);
        ck_assert_ptr_nonnull(strstr(outcome.why, "--salvage"));
        ck_assert_uint_eq(outcome.count, 0);
        outcome_fini(&outcome);
    }
}
END_TEST

START_TEST(a_directory_without_data_is_refused)
{
    struct outcome outcome = import_path(&sc_import_pybitcask, sample_path("basho-bitcask/torn"));
    ck_assert(outcome.failed);
    outcome_fini(&outcome);
    outcome = import_path(&sc_import_basho, sample_path("pybitcask-json/torn"));
    ck_assert(outcome.failed);
    outcome_fini(&outcome);
    outcome = import_path(&sc_import_basho, "/nonexistent");
    ck_assert(outcome.failed);
    outcome_fini(&outcome);
    outcome = import_path(&sc_import_rdb, sample_path("redis.rdb.expected"));
    ck_assert(outcome.failed);
    outcome_fini(&outcome);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_samples");
    TCase *tcase = tcase_create("import_samples");
    tcase_add_loop_test(tcase, a_sample_gives_exactly_what_is_expected, 0, SAMPLES_COUNT);
    tcase_add_test(tcase, formats_are_found_by_what_is_there);
    tcase_add_test(tcase, keys_of_other_databases_are_counted);
    tcase_add_test(tcase, keys_of_several_databases_are_not_mixed);
    tcase_add_test(tcase, a_damaged_rdb_file_is_refused_before_anything_is_imported);
    tcase_add_test(tcase, a_directory_without_data_is_refused);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
