#include "client/shardcask.h"

#include <stdio.h>

#include "tests/check_main.h"
#include "tests/client/fake_server.h"

static struct fake_server fake;
static struct shardcask *db;

static void open_client(const struct shardcask_options *options)
{
    char why[SHARDCASK_WHY_SIZE] = "";
    ck_assert_msg(shardcask_open(fake.url, options, &db, why) == SHARDCASK_OK, "%s", why);
}

static void setup(void)
{
    fake_start(&fake);
    open_client(NULL);
}

static void teardown(void)
{
    shardcask_close(db);
    fake_end(&fake);
}

START_TEST(what_is_put_can_be_got)
{
    uint64_t version = 0;
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_put(db, "k", 1, "\x93\x01\x02\x03", 4, NULL, &version),
                     SHARDCASK_OK);
    ck_assert_uint_eq(version, 1);
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_OK);
    ck_assert_uint_eq(value.size, 4);
    ck_assert_mem_eq(value.data, "\x93\x01\x02\x03", 4);
    ck_assert_int_eq(shardcask_put_str(db, "s", "text", NULL, NULL), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_get(db, "s", 1, &value), SHARDCASK_OK);
    ck_assert_mem_eq(value.data, "\xa4text", 5);
    ck_assert_int_eq(shardcask_put_json(db, "j", "{\"a\":1.5}", NULL, NULL), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_get(db, "j", 1, &value), SHARDCASK_OK);
    char *json = NULL;
    ck_assert_int_eq(shardcask_value_get_json(&value, &json, NULL), SHARDCASK_OK);
    ck_assert_str_eq(json, "{\"a\":1.5}");
    shardcask_free(json);
    shardcask_value_free(&value);
}
END_TEST

START_TEST(a_failed_get_leaves_the_value_alone)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_value_set_int(&value, 7), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_get(db, "absent", 6, &value), SHARDCASK_NOTFOUND);
    ck_assert_str_eq(shardcask_error(), "not found");
    int64_t number = 0;
    ck_assert_int_eq(shardcask_value_get_int(&value, &number), SHARDCASK_OK);
    ck_assert_int_eq(number, 7);
    shardcask_value_free(&value);
}
END_TEST

START_TEST(every_operation_returns_its_result)
{
    bool yes = false;
    int64_t number = 0;
    uint64_t version = 0;
    uint64_t ttl = 5000;
    struct shardcask_meta meta;
    ck_assert_int_eq(shardcask_incr(db, "n", 1, 5, &number), SHARDCASK_OK);
    ck_assert_int_eq(number, 5);
    ck_assert_int_eq(shardcask_incr(db, "n", 1, -7, &number), SHARDCASK_OK);
    ck_assert_int_eq(number, -2);
    ck_assert_int_eq(shardcask_exists(db, "n", 1, &yes), SHARDCASK_OK);
    ck_assert(yes);
    ck_assert_int_eq(shardcask_touch(db, "n", 1, &ttl, &version), SHARDCASK_OK);
    ck_assert_uint_eq(version, 3);
    ck_assert_int_eq(shardcask_meta(db, "n", 1, &meta), SHARDCASK_OK);
    ck_assert(meta.has_ttl && meta.ttl_ms == 5000 && meta.version == 3 && meta.size == 1 &&
              meta.shard == 7);
    ck_assert_int_eq(shardcask_touch(db, "n", 1, NULL, NULL), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_meta(db, "n", 1, &meta), SHARDCASK_OK);
    ck_assert(!meta.has_ttl);
    ck_assert_int_eq(shardcask_del(db, "n", 1, NULL, &yes), SHARDCASK_OK);
    ck_assert(yes);
    ck_assert_int_eq(shardcask_del(db, "n", 1, NULL, &yes), SHARDCASK_OK);
    ck_assert(!yes);
    ck_assert_int_eq(shardcask_touch(db, "n", 1, NULL, NULL), SHARDCASK_NOTFOUND);
    ck_assert_int_eq(shardcask_meta(db, "n", 1, &meta), SHARDCASK_NOTFOUND);
}
END_TEST

START_TEST(options_travel_and_errors_come_back_with_their_sentence)
{
    struct shardcask_write absent = {.flags = SHARDCASK_IF_VERSION};
    struct shardcask_write ttl = {.flags = SHARDCASK_NO_SYNC, .ttl_ms = 1000};
    struct shardcask_meta meta;
    ck_assert_int_eq(shardcask_put_str(db, "k", "1", &absent, NULL), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_put_str(db, "k", "2", &absent, NULL), SHARDCASK_MISMATCH);
    ck_assert_str_eq(shardcask_error(), "the version is another");
    ck_assert_int_eq(shardcask_put_str(db, "k", "2", &ttl, NULL), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_meta(db, "k", 1, &meta), SHARDCASK_OK);
    ck_assert_uint_eq(meta.ttl_ms, 1000);
    ck_assert_int_eq(shardcask_incr(db, "k", 1, 1, NULL), SHARDCASK_WRONGTYPE);
    ck_assert_str_eq(shardcask_error(), "the value is no integer");
}
END_TEST

START_TEST(senseless_calls_are_refused_without_being_sent)
{
    static char long_key[SC_KEY_MAX + 1];
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    struct shardcask_write both = {.flags = SHARDCASK_SYNC | SHARDCASK_NO_SYNC};
    struct shardcask_write unknown = {.flags = 64};
    struct shardcask_write ttl = {.ttl_ms = 5};
    struct shardcask_write forever = {.ttl_ms = SC_TTL_MS_MAX + 1};
    uint64_t zero = 0;
    ck_assert_int_eq(shardcask_get(db, "", 0, &value), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_get(db, NULL, 5, &value), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_get(db, long_key, sizeof long_key, &value), SHARDCASK_TOOLARGE);
    ck_assert_int_eq(shardcask_put(db, "k", 1, "\xc1", 1, NULL, NULL), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_put(db, "k", 1, "\x01\x01", 2, NULL, NULL), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_put(db, "k", 1, NULL, 0, NULL, NULL), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_put(db, "k", 1, "", SIZE_MAX, NULL, NULL), SHARDCASK_TOOLARGE);
    ck_assert_int_eq(shardcask_put_json(db, "k", "{", NULL, NULL), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_put_str(db, "k", "", &both, NULL), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_put_str(db, "k", "", &unknown, NULL), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_put_str(db, "k", "", &forever, NULL), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_del(db, "k", 1, &ttl, NULL), SHARDCASK_BADREQUEST);
    ck_assert_int_eq(shardcask_touch(db, "k", 1, &zero, NULL), SHARDCASK_BADREQUEST);
    ck_assert_str_eq(shardcask_error(), "ttl_ms must be at least 1");
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 0);
}
END_TEST

START_TEST(values_of_many_megabytes_pass)
{
    size_t size = 15u << 20;
    uint8_t *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 0x41, size);
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_value_set_bytes(&value, bytes, size), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_put(db, "big", 3, value.data, value.size, NULL, NULL), SHARDCASK_OK);
    struct shardcask_value back = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_get(db, "big", 3, &back), SHARDCASK_OK);
    ck_assert_uint_eq(back.size, value.size);
    ck_assert(memcmp(back.data, value.data, value.size) == 0);
    shardcask_value_free(&back);
    shardcask_value_free(&value);
    free(bytes);
}
END_TEST

START_TEST(store_wide_calls_return_what_the_server_says)
{
    uint64_t count = 99;
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_count(db, &count), SHARDCASK_OK);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(shardcask_put_str(db, "k", "", NULL, NULL), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_count(db, &count), SHARDCASK_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(shardcask_sync(db), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_compact(db), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_stats(db, &value), SHARDCASK_OK);
    ck_assert_mem_eq(value.data, "\x81\xa5stats\x01", 8);
    ck_assert_int_eq(shardcask_map(db, &value), SHARDCASK_OK);
    ck_assert_mem_eq(value.data, "\x81\xa3map\x01", 6);
    ck_assert_int_eq(shardcask_ping(db, &value), SHARDCASK_OK);
    ck_assert_mem_eq(value.data, "\x80", 1);
    ck_assert_int_eq(shardcask_clear(db, &count), SHARDCASK_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(shardcask_call(db, "\x91\xa9rebalance", 11, &value), SHARDCASK_OK);
    ck_assert_mem_eq(value.data, "\x92\x0c\xa8not here", 11);
    shardcask_value_free(&value);
}
END_TEST

START_TEST(a_status_for_the_whole_message_reaches_every_call)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    uint64_t count = 0;
    fake_lock(&fake);
    fake.status = SC_BUSY;
    fake_unlock(&fake);
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_BUSY);
    ck_assert_str_eq(shardcask_error(), "told to fail");
    ck_assert_int_eq(shardcask_count(db, &count), SHARDCASK_BUSY);
    ck_assert_int_eq(shardcask_sync(db), SHARDCASK_BUSY);
    ck_assert_str_eq(shardcask_error(), "told to fail");
    struct shardcask_op ops[2] = {{.key = "a", .key_size = 1}, {.key = "b", .key_size = 1}};
    ck_assert_int_eq(shardcask_mget(db, ops, 2), SHARDCASK_BUSY);
    ck_assert_str_eq(shardcask_error(), "told to fail");
    ck_assert_int_eq(ops[1].status, SHARDCASK_BUSY);
    shardcask_op_clear(&ops[0]);
    shardcask_op_clear(&ops[1]);
}
END_TEST

/* ---- Batches ---- */

START_TEST(a_batch_gives_each_operation_its_own_result)
{
    struct shardcask_op ops[8] = {
        {.kind = SHARDCASK_OP_PUT, .key = "k", .key_size = 1, .value = "\x05", .value_size = 1},
        {.kind = SHARDCASK_OP_INCR, .key = "k", .key_size = 1, .delta = 2},
        {.kind = SHARDCASK_OP_GET, .key = "k", .key_size = 1},
        {.kind = SHARDCASK_OP_GET, .key = "absent", .key_size = 6},
        {.kind = SHARDCASK_OP_GET, .key = "", .key_size = 0},
        {.kind = SHARDCASK_OP_TOUCH, .key = "k", .key_size = 1, .options = {.ttl_ms = 9}},
        {.kind = SHARDCASK_OP_META, .key = "k", .key_size = 1},
        {.kind = SHARDCASK_OP_DEL, .key = "k", .key_size = 1},
    };
    ck_assert_int_eq(shardcask_batch(db, ops, 8), SHARDCASK_OK);
    ck_assert_int_eq(ops[0].status, SHARDCASK_OK);
    ck_assert_int_eq(ops[1].number, 7);
    ck_assert_mem_eq(ops[2].result.data, "\x07", 1);
    ck_assert_int_eq(ops[3].status, SHARDCASK_NOTFOUND);
    ck_assert_int_eq(ops[4].status, SHARDCASK_BADREQUEST);
    ck_assert_str_eq(ops[4].why, "the key is empty");
    ck_assert_int_eq(ops[5].status, SHARDCASK_OK);
    ck_assert_uint_eq(ops[6].meta.ttl_ms, 9);
    ck_assert(ops[7].existed);
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 1);
    for (size_t i = 0; i < 8; i++) {
        shardcask_op_clear(&ops[i]);
    }
}
END_TEST

START_TEST(an_empty_batch_and_one_of_bad_operations_send_nothing)
{
    struct shardcask_op op = {.key = "", .key_size = 0};
    ck_assert_int_eq(shardcask_batch(db, NULL, 0), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_mget(db, &op, 1), SHARDCASK_OK);
    ck_assert_int_eq(op.status, SHARDCASK_BADREQUEST);
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 0);
    shardcask_op_clear(&op);
}
END_TEST

START_TEST(a_large_batch_is_split_by_count_and_keeps_its_order)
{
    enum { COUNT = 1000 };
    shardcask_close(db);
    open_client(&(struct shardcask_options){.batch_max = 64});
    static struct shardcask_op ops[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        ops[i] =
            (struct shardcask_op){.kind = SHARDCASK_OP_INCR, .key = "n", .key_size = 1, .delta = 1};
    }
    ck_assert_int_eq(shardcask_batch(db, ops, COUNT), SHARDCASK_OK);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].number, (int64_t)i + 1);
    }
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), (COUNT + 63) / 64);
    ck_assert_uint_eq(fake_count(&fake, &fake.items_max), 64);
}
END_TEST

START_TEST(a_large_batch_is_split_by_bytes)
{
    enum { COUNT = 40, SIZE = 100000 };
    static struct shardcask_op ops[COUNT];
    static char keys[COUNT][8];
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    char *bytes = calloc(1, SIZE);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(shardcask_value_set_bytes(&value, bytes, SIZE), SHARDCASK_OK);
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "k%zu", i);
        ops[i] = (struct shardcask_op){.key = keys[i],
                                       .key_size = strlen(keys[i]),
                                       .value = value.data,
                                       .value_size = value.size};
    }
    ck_assert_int_eq(shardcask_mput(db, ops, COUNT), SHARDCASK_OK);
    ck_assert_uint_le(fake_count(&fake, &fake.body_max), 1u << 20);
    ck_assert_uint_eq(fake_count(&fake, &fake.writes), COUNT);
    ck_assert_int_eq(shardcask_mget(db, ops, COUNT), SHARDCASK_OK);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_OK);
        ck_assert_uint_eq(ops[i].result.size, value.size);
    }
    ck_assert_int_eq(shardcask_mdel(db, ops, COUNT), SHARDCASK_OK);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert(ops[i].existed);
        shardcask_op_clear(&ops[i]);
    }
    shardcask_value_free(&value);
    free(bytes);
}
END_TEST

START_TEST(reads_whose_reply_did_not_fit_are_asked_again_alone)
{
    enum { COUNT = 10 };
    struct shardcask_op ops[COUNT] = {{0}};
    char text[200];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(shardcask_put_str(db, "k", text, NULL, NULL), SHARDCASK_OK);
    fake_lock(&fake);
    fake.reply_room = 500;
    fake.messages = 0;
    fake_unlock(&fake);
    for (size_t i = 0; i < COUNT; i++) {
        ops[i] = (struct shardcask_op){.key = "k", .key_size = 1};
    }
    ck_assert_int_eq(shardcask_mget(db, ops, COUNT), SHARDCASK_OK);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_OK);
        ck_assert_uint_eq(ops[i].result.size, 201);
        shardcask_op_clear(&ops[i]);
    }
    /* Two fitted, each of the others came alone. */
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 1 + COUNT - 2);
}
END_TEST

START_TEST(a_read_before_a_write_of_its_key_is_not_asked_again)
{
    char text[200];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(shardcask_put_str(db, "k", text, NULL, NULL), SHARDCASK_OK);
    fake_lock(&fake);
    fake.reply_room = 50;
    fake.writes = 0;
    fake_unlock(&fake);
    struct shardcask_op ops[3] = {
        {.kind = SHARDCASK_OP_GET, .key = "k", .key_size = 1},
        {.kind = SHARDCASK_OP_PUT, .key = "k", .key_size = 1, .value = "\x01", .value_size = 1},
        {.kind = SHARDCASK_OP_GET, .key = "k", .key_size = 1},
    };
    ck_assert_int_eq(shardcask_batch(db, ops, 3), SHARDCASK_OK);
    ck_assert_int_eq(ops[0].status, SHARDCASK_TOOLARGE);
    ck_assert_int_eq(ops[1].status, SHARDCASK_OK);
    ck_assert_int_eq(ops[2].status, SHARDCASK_OK);
    ck_assert_mem_eq(ops[2].result.data, "\x01", 1);
    ck_assert_uint_eq(fake_count(&fake, &fake.writes), 1);
    for (size_t i = 0; i < 3; i++) {
        shardcask_op_clear(&ops[i]);
    }
}
END_TEST

START_TEST(a_write_whose_reply_did_not_fit_is_not_sent_again)
{
    fake_lock(&fake);
    fake.reply_room = 1;
    fake_unlock(&fake);
    struct shardcask_op ops[2] = {
        {.kind = SHARDCASK_OP_INCR, .key = "a", .key_size = 1, .delta = 1},
        {.kind = SHARDCASK_OP_INCR, .key = "b", .key_size = 1, .delta = 1},
    };
    ck_assert_int_eq(shardcask_batch(db, ops, 2), SHARDCASK_OK);
    ck_assert_int_eq(ops[0].status, SHARDCASK_TOOLARGE);
    ck_assert_int_eq(ops[1].status, SHARDCASK_TOOLARGE);
    ck_assert_uint_eq(fake_count(&fake, &fake.writes), 2);
    shardcask_op_clear(&ops[0]);
    shardcask_op_clear(&ops[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("calls");
    TCase *tcase = tcase_create("calls");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_is_put_can_be_got);
    tcase_add_test(tcase, a_failed_get_leaves_the_value_alone);
    tcase_add_test(tcase, every_operation_returns_its_result);
    tcase_add_test(tcase, options_travel_and_errors_come_back_with_their_sentence);
    tcase_add_test(tcase, senseless_calls_are_refused_without_being_sent);
    tcase_add_test(tcase, values_of_many_megabytes_pass);
    tcase_add_test(tcase, store_wide_calls_return_what_the_server_says);
    tcase_add_test(tcase, a_status_for_the_whole_message_reaches_every_call);
    tcase_add_test(tcase, a_batch_gives_each_operation_its_own_result);
    tcase_add_test(tcase, an_empty_batch_and_one_of_bad_operations_send_nothing);
    tcase_add_test(tcase, a_large_batch_is_split_by_count_and_keeps_its_order);
    tcase_add_test(tcase, a_large_batch_is_split_by_bytes);
    tcase_add_test(tcase, reads_whose_reply_did_not_fit_are_asked_again_alone);
    tcase_add_test(tcase, a_read_before_a_write_of_its_key_is_not_asked_again);
    tcase_add_test(tcase, a_write_whose_reply_did_not_fit_is_not_sent_again);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
