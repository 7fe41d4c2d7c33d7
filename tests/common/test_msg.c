/* Parsing and writing of every request and reply. Mutated messages: test_msg_hostile.c. */
#include "tests/common/msg_fixture.h"

static struct sc_buf out;

static void setup(void)
{
    out = (struct sc_buf){0};
}

static void teardown(void)
{
    sc_buf_fini(&out);
    fixture_fini();
}

static void assert_no_options(const struct sc_msg_write_options *options)
{
    ck_assert(!options->has_ttl && !options->has_if_version && !options->has_sync);
}

/* ---- Requests on one key ---- */

START_TEST(a_get_has_a_key)
{
    ck_assert_int_eq(PARSE("\x92\xa3get\xa3"
                           "abc"),
                     SC_OK);
    ck_assert_int_eq(request.op, SC_OP_GET);
    assert_slice(request.key, "abc");
    assert_slice(request.key_raw, "\xa3"
                                  "abc");
    ck_assert_uint_eq(request.raw.size, 9);
    assert_no_options(&request.options);
    ck_assert_uint_eq(request.value.size, 0);
}
END_TEST

START_TEST(str_and_bin_of_any_width_are_the_same_key)
{
    static const struct sc_slice requests[] = {
        BYTES("\x92\xa3get\xa2hi"),
        BYTES("\x92\xd9\x03get\xd9\x02hi"),
        BYTES("\xdc\x00\x02\xa3get\xda\x00\x02hi"),
        BYTES("\xdd\x00\x00\x00\x02\xda\x00\x03get\xdb\x00\x00\x00\x02hi"),
        BYTES("\x92\xdb\x00\x00\x00\x03get\xc4\x02hi"),
        BYTES("\x92\xa3get\xc5\x00\x02hi"),
        BYTES("\x92\xa3get\xc6\x00\x00\x00\x02hi"),
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        ck_assert_int_eq(fixture_parse(requests[i].data, requests[i].size), SC_OK);
        ck_assert_int_eq(request.op, SC_OP_GET);
        assert_slice(request.key, "hi");
    }
}
END_TEST

START_TEST(a_put_keeps_the_value_as_it_was_sent)
{
    /* The value is 1 in nine bytes: it must not become the one-byte encoding. */
    ck_assert_int_eq(PARSE("\x93\xa3put\xa1k\xcf\0\0\0\0\0\0\0\1"), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_PUT);
    assert_slice(request.key, "k");
    assert_slice(request.value, "\xcf\0\0\0\0\0\0\0\1");
    assert_no_options(&request.options);
}
END_TEST

START_TEST(a_put_takes_its_three_options_in_any_order)
{
    ck_assert_int_eq(PARSE("\x94\xa3put\xa1k\xc0\x83\xa4sync\xc2\xaaif_version\x00"
                           "\xa6ttl_ms\xcd\x03\xe8"),
                     SC_OK);
    assert_slice(request.value, "\xc0");
    ck_assert(request.options.has_sync && !request.options.sync);
    ck_assert(request.options.has_if_version);
    ck_assert_uint_eq(request.options.if_version, 0);
    ck_assert(request.options.has_ttl);
    ck_assert_uint_eq(request.options.ttl_ms, 1000);
}
END_TEST

START_TEST(an_empty_map_of_options_is_none)
{
    ck_assert_int_eq(PARSE("\x94\xa3put\xa1k\xc0\x80"), SC_OK);
    assert_no_options(&request.options);
    ck_assert_int_eq(PARSE("\x93\xa3"
                           "del\xa1k\xde\x00\x00"),
                     SC_OK);
    assert_no_options(&request.options);
}
END_TEST

START_TEST(an_unsigned_number_may_come_signed)
{
    ck_assert_int_eq(PARSE("\x93\xa3"
                           "del\xa1k\x81\xaaif_version\xd3\0\0\0\0\0\0\0\x09"),
                     SC_OK);
    ck_assert_uint_eq(request.options.if_version, 9);
    ck_assert_int_eq(PARSE("\x93\xa3"
                           "del\xa1k\x81\xaaif_version\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
                     SC_OK);
    ck_assert_uint_eq(request.options.if_version, UINT64_MAX);
}
END_TEST

START_TEST(incr_takes_the_whole_of_int64)
{
    ck_assert_int_eq(PARSE("\x92\xa4incr\xa1k"), SC_OK);
    ck_assert_int_eq(request.delta, 1);
    ck_assert_int_eq(PARSE("\x93\xa4incr\xa1k\xd3\x80\0\0\0\0\0\0\0"), SC_OK);
    ck_assert(request.delta == INT64_MIN);
    ck_assert_int_eq(PARSE("\x93\xa4incr\xa1k\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), SC_OK);
    ck_assert(request.delta == INT64_MAX);
    ck_assert_int_eq(PARSE("\x93\xa4incr\xa1k\xcf\x80\0\0\0\0\0\0\0"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x93\xa4incr\xa1k\xcb\x3f\xf0\0\0\0\0\0\0"), SC_BADREQUEST);
}
END_TEST

START_TEST(touch_sets_or_removes_the_expiry)
{
    ck_assert_int_eq(PARSE("\x93\xa5touch\xa1k\x05"), SC_OK);
    ck_assert(!request.ttl_nil);
    ck_assert_uint_eq(request.options.ttl_ms, 5);
    ck_assert_int_eq(PARSE("\x93\xa5touch\xa1k\xc0"), SC_OK);
    ck_assert(request.ttl_nil);
    ck_assert_int_eq(PARSE("\x93\xa5touch\xa1k\x00"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x92\xa5touch\xa1k"), SC_BADREQUEST);
}
END_TEST

/* ---- Limits ---- */

static enum sc_status parse_ttl(uint64_t ttl_ms, bool touch)
{
    out.size = 0;
    if (touch) {
        sc_msg_put_touch(&out, SLICE("k"), &ttl_ms);
    } else {
        struct sc_msg_write_options options = {.has_ttl = true, .ttl_ms = ttl_ms};
        sc_msg_put_put(&out, SLICE("k"), SLICE("\xc0"), &options);
    }
    return fixture_parse_buf(&out);
}

START_TEST(a_time_to_live_is_between_1_ms_and_100_years)
{
    for (int touch = 0; touch < 2; touch++) {
        ck_assert_int_eq(parse_ttl(0, touch), SC_BADREQUEST);
        ck_assert_int_eq(parse_ttl(1, touch), SC_OK);
        ck_assert_int_eq(parse_ttl(SC_TTL_MS_MAX, touch), SC_OK);
        ck_assert_uint_eq(request.options.ttl_ms, SC_TTL_MS_MAX);
        ck_assert_int_eq(parse_ttl(SC_TTL_MS_MAX + 1, touch), SC_BADREQUEST);
        ck_assert_int_eq(parse_ttl(UINT64_MAX, touch), SC_BADREQUEST);
    }
}
END_TEST

static enum sc_status parse_key_of(size_t size)
{
    uint8_t *key = sc_calloc(size + 1, 1);
    out.size = 0;
    sc_msg_put_key_request(&out, SC_OP_GET, sc_slice(key, size));
    free(key);
    return fixture_parse_buf(&out);
}

START_TEST(a_key_has_1_to_65535_bytes)
{
    ck_assert_int_eq(parse_key_of(0), SC_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(why, "empty"));
    ck_assert_int_eq(parse_key_of(1), SC_OK);
    ck_assert_int_eq(parse_key_of(65535), SC_OK);
    ck_assert_uint_eq(request.key.size, 65535);
    ck_assert_int_eq(parse_key_of(65536), SC_TOOLARGE);
    ck_assert_ptr_nonnull(strstr(why, "65536"));
}
END_TEST

static enum sc_status parse_value_of(size_t encoded_size)
{
    uint8_t *value = sc_calloc(encoded_size, 1);
    struct sc_buf encoded = {0};
    sc_mp_put_bin(&encoded, sc_slice(value, encoded_size - 3)); /* bin 16: a head of 3 bytes */
    ck_assert_uint_eq(encoded.size, encoded_size);
    out.size = 0;
    sc_msg_put_put(&out, SLICE("k"), sc_buf_slice(&encoded), NULL);
    sc_buf_fini(&encoded);
    free(value);
    return fixture_parse_buf(&out);
}

START_TEST(a_value_is_measured_encoded)
{
    ck_assert_int_eq(parse_value_of(VALUE_MAX), SC_OK);
    ck_assert_int_eq(parse_value_of(VALUE_MAX + 1), SC_TOOLARGE);
    ck_assert_ptr_nonnull(strstr(why, "1025"));
}
END_TEST

static void put_nested(struct sc_buf *to, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        sc_mp_put_array(to, 1);
    }
    sc_mp_put_nil(to);
}

START_TEST(a_value_is_nested_128_deep_at_most)
{
    struct sc_buf value = {0};
    put_nested(&value, 128);
    sc_msg_put_put(&out, SLICE("k"), sc_buf_slice(&value), NULL);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    value.size = out.size = 0;
    put_nested(&value, 129);
    sc_msg_put_put(&out, SLICE("k"), sc_buf_slice(&value), NULL);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_BADREQUEST);
    ck_assert_str_eq(why, "put: the value is nested more than 128 deep");
    sc_buf_fini(&value);
}
END_TEST

/* ---- Refusals ---- */

static const struct {
    struct sc_slice body;
    const char *why;
} refused[] = {
    {BYTES(""), "a request must be an array [operation, argument...]"},
    {BYTES("\xc0"), "a request must be an array [operation, argument...]"},
    {BYTES("\x90"), "a request must be an array [operation, argument...]"},
    {BYTES("\x91\x01"), "a request must be an array [operation, argument...]"},
    {BYTES("\x92\xa3get"), "get: the key must be a str or bin, and whole"},
    {BYTES("\x91\xc4\x04ping"), "a request must be an array [operation, argument...]"},
    {BYTES("\xdd\xff\xff\xff\xff\xa4ping"), "a request must be an array [operation, argument...]"},
    {BYTES("\x91\xa3"
           "foo"),
     "the operation \"foo\" is not known"},
    {BYTES("\x91\xa0"), "the operation \"\" is not known"},
    {BYTES("\x91\xa4"
           "a\n\xff"
           "b"),
     "the operation \"a??b\" is not known"},
    {BYTES("\x91\xd9\x24"
           "abcdefghijklmnopqrstuvwxyz0123456789"),
     "the operation \"abcdefghijklmnopqrstuvwxyz012345...\" is not known"},
    {BYTES("\x92\xa4ping\xc0"), "ping takes no arguments, not 1"},
    {BYTES("\x91\xa3get"), "get takes 1 argument, not 0"},
    {BYTES("\x93\xa3get\xa1k\xc0"), "get takes 1 argument, not 2"},
    {BYTES("\x92\xa3put\xa1k"), "put takes 2 to 3 arguments, not 1"},
    {BYTES("\x92\xa5touch\xa1k"), "touch takes 2 arguments, not 1"},
    {BYTES("\x92\xa3get\x01"), "get: the key must be a str or bin, and whole"},
    {BYTES("\x92\xa3get\xc0"), "get: the key must be a str or bin, and whole"},
    {BYTES("\x92\xa3get\xa2k"), "get: the key must be a str or bin, and whole"},
    {BYTES("\x92\xa3get\xa0"), "get: the key is empty; a key has 1 to 65535 bytes"},
    {BYTES("\x91\xa4ping\xc0"), "ping: 1 bytes too many follow the request"},
    {BYTES("\x93\xa3put\xa1k\xc1"), "put: the value is cut off or not msgpack"},
    {BYTES("\x93\xa3put\xa1k\x92\x01"), "put: the value is cut off or not msgpack"},
    {BYTES("\x94\xa3put\xa1k\xc0\xc0"), "put: the options must be a map, or be left out"},
    {BYTES("\x94\xa3put\xa1k\xc0\x81\x01\x01"), "put: the name of an option must be a str"},
    {BYTES("\x94\xa3put\xa1k\xc0\x81\xa3ttl\x01"),
     "put: the option \"ttl\" is not known; known are ttl_ms, expires_ms, if_version and sync"},
    {BYTES("\x94\xa3put\xa1k\xc0\x82\xa4sync\xc3\xa4sync\xc3"),
     "put: the option \"sync\" is given twice"},
    {BYTES("\x94\xa3put\xa1k\xc0\x81\xa4sync\x01"),
     "put: the option \"sync\" must be true or false"},
    {BYTES("\x94\xa3put\xa1k\xc0\x81\xaa"
           "expires_ms\x00"),
     "put: the option \"expires_ms\" must be a whole number from 1, milliseconds since 1970"},
    {BYTES("\x94\xa3put\xa1k\xc0\x82\xaa"
           "expires_ms\x01\xa6ttl_ms\x01"),
     "put: ttl_ms and expires_ms exclude each other"},
    {BYTES("\x94\xa3put\xa1k\xc0\x81\xa6ttl_ms\x00"),
     "put: the option \"ttl_ms\" must be a whole number from 1 to 3155760000000"},
    {BYTES("\x94\xa3put\xa1k\xc0\x81\xa6ttl_ms\xff"),
     "put: the option \"ttl_ms\" must be a whole number from 1 to 3155760000000"},
    {BYTES("\x94\xa3put\xa1k\xc0\x81\xaaif_version\xc0"),
     "put: the option \"if_version\" must be a whole number, 0 for \"only if absent\""},
    {BYTES("\x93\xa3"
           "del\xa1k\x81\xa4sync\xc3"),
     "del: the option \"sync\" is not known; known is if_version"},
    {BYTES("\x93\xa4incr\xa1k\xa1x"), "incr: the delta must be a whole number within int64"},
    {BYTES("\x92\xa4mget\xa1k"), "mget: the argument must be an array"},
    {BYTES("\x92\xa4mget\x92\xa1k"), "mget: the array is cut off or not msgpack"},
    {BYTES("\x92\xa4mget\xdd\xff\xff\xff\xff\xa1k"), "mget: the argument must be an array"},
    {BYTES("\x92\xa4scan\xc4\x00"),
     "scan: the cursor must be nil at first, then what the last page gave"},
    {BYTES("\x93\xa4scan\xc0\x81\xa5limit\x00"),
     "scan: the option \"limit\" must be a whole number from 1 to 10000"},
    {BYTES("\x93\xa4scan\xc0\x81\xa5limit\xcd\x27\x11"),
     "scan: the option \"limit\" must be a whole number from 1 to 10000"},
    {BYTES("\x93\xa4scan\xc0\x81\xa5pause\xc3"),
     "scan: the option \"pause\" is not known; known are prefix, limit and values"},
    {BYTES("\x92\xa9shard.add\xa0"),
     "shard.add: the address must be a str like tcp://host:port, at most 255 long"},
    {BYTES("\x92\xa9shard.add\xa3"
           "a\0b"),
     "shard.add: the address must be a str like tcp://host:port, at most 255 long"},
    {BYTES("\x92\xacshard.remove\xff"), "shard.remove: the shard's id must be a whole number"},
    {BYTES("\x93\xacshard.weight\x01\x00"),
     "shard.weight: the weight must be a whole number from 1 to 1000000"},
    {BYTES("\x93\xacshard.remove\x01\x81\xa6weight\x01"),
     "shard.remove: the option \"weight\" is not known; known is dry_run"},
    {BYTES("\x92\xa9rebalance\x81\xa7"
           "dry_run\x01"),
     "rebalance: the option \"dry_run\" must be true or false"},
    {BYTES("\x92\xa9rebalance\x81\xa6"
           "cancel\xc2"),
     "rebalance: the option \"cancel\" must be true if it is given"},
    {BYTES("\x94\xa6x.scan\xc0\x80\xcd\x40\x00"),
     "x.scan: the last slot must be a whole number below 16384"},
    {BYTES("\x93\xa7x.adopt\xc4\x01\x01\x01"), "x.adopt: the cluster's id must have 16 bytes"},
};

START_TEST(what_is_refused_is_explained)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        ck_assert_int_eq(fixture_parse(refused[i].body.data, refused[i].body.size), SC_BADREQUEST);
        ck_assert_str_eq(why, refused[i].why);
        ck_assert(sc_msg_parse_request(sc_slice(message, refused[i].body.size), &limits, &request,
                                       NULL) == SC_BADREQUEST);
    }
}
END_TEST

START_TEST(the_operation_is_known_when_only_its_arguments_are_wrong)
{
    ck_assert_int_eq(PARSE("\x91\xa3nop"), SC_BADREQUEST);
    ck_assert_int_eq(request.op, SC_OP_NONE);
    ck_assert_int_eq(PARSE("\x91\xa3put"), SC_BADREQUEST);
    ck_assert_int_eq(request.op, SC_OP_PUT);
}
END_TEST

/* ---- Names ---- */

START_TEST(every_operation_is_found_by_its_name_and_no_other)
{
    for (enum sc_op op = 0; op < SC_OP_NONE; op++) {
        char name[32];
        size_t size = strlen(sc_op_name(op));
        memcpy(name, sc_op_name(op), size + 1);
        /* Without arguments most are refused, but the operation is told. */
        for (size_t change = 0; change <= size; change++) {
            memcpy(name, sc_op_name(op), size + 1);
            if (change < size) {
                name[change] ^= 0x20; /* a letter of the other case, or none at all */
            }
            out.size = 0;
            sc_mp_put_array(&out, 1);
            sc_mp_put_cstr(&out, name);
            (void)fixture_parse_buf(&out);
            ck_assert_int_eq(request.op, change < size ? SC_OP_NONE : op);
        }
    }
}
END_TEST

START_TEST(kinds_follow_the_list)
{
    ck_assert_uint_eq(sc_op_kind(SC_OP_GET), SC_OP_SINGLE);
    ck_assert_uint_eq(sc_op_kind(SC_OP_INCR), SC_OP_SINGLE | SC_OP_WRITE);
    ck_assert_uint_eq(sc_op_kind(SC_OP_X_JOIN), SC_OP_MULTI | SC_OP_WRITE | SC_OP_INTERNAL);
    ck_assert_str_eq(sc_op_name(SC_OP_SHARD_REMOVE), "shard.remove");
}
END_TEST

/* ---- Multi-key requests ---- */

static struct sc_msg_request item;

static enum sc_status next_item(void)
{
    memset(&item, 0xa5, sizeof item);
    return sc_msg_next_item(&request, &limits, &item, why);
}

START_TEST(items_of_mget_and_mdel_are_keys)
{
    ck_assert_int_eq(PARSE("\x92\xa4mget\x93\xa1"
                           "a\x07\xc4\x01z"),
                     SC_OK);
    ck_assert_uint_eq(request.item_count, 3);
    ck_assert_int_eq(next_item(), SC_OK);
    ck_assert_int_eq(item.op, SC_OP_GET);
    assert_slice(item.key, "a");
    assert_slice(item.raw, "\xa1"
                           "a");
    ck_assert_int_eq(next_item(), SC_BADREQUEST);
    assert_slice(item.raw, "\x07");
    ck_assert_int_eq(next_item(), SC_OK);
    assert_slice(item.key, "z");
    assert_slice(item.key_raw, "\xc4\x01z");
    ck_assert(sc_mp_done(&request.items));

    ck_assert_int_eq(PARSE("\x92\xa4mdel\x91\xa1q"), SC_OK);
    ck_assert_int_eq(next_item(), SC_OK);
    ck_assert_int_eq(item.op, SC_OP_DEL);
    assert_slice(item.key, "q");
    assert_no_options(&item.options);
}
END_TEST

START_TEST(items_of_mput_are_pairs_with_options)
{
    ck_assert_int_eq(PARSE("\x92\xa4mput\x94"
                           "\x92\xa1"
                           "a\x01"
                           "\x93\xa1"
                           "b\x92\x01\x02\x81\xa6ttl_ms\x09"
                           "\x91\xa1"
                           "c"
                           "\x93\xa1"
                           "d\x01\xc0"),
                     SC_OK);
    ck_assert_uint_eq(request.item_count, 4);
    ck_assert_int_eq(next_item(), SC_OK);
    ck_assert_int_eq(item.op, SC_OP_PUT);
    assert_slice(item.value, "\x01");
    assert_no_options(&item.options);
    ck_assert_int_eq(next_item(), SC_OK);
    assert_slice(item.key, "b");
    assert_slice(item.value, "\x92\x01\x02");
    ck_assert_uint_eq(item.options.ttl_ms, 9);

    /* As a request of its own it says the same. */
    sc_msg_put_mput_item(&out, &item);
    assert_slice(sc_buf_slice(&out), "\x94\xa3put\xa1"
                                     "b\x92\x01\x02\x81\xa6ttl_ms\x09");

    ck_assert_int_eq(next_item(), SC_BADREQUEST); /* no value */
    ck_assert_int_eq(next_item(), SC_BADREQUEST); /* nil for options */
    ck_assert(sc_mp_done(&request.items));
}
END_TEST

START_TEST(items_of_a_batch_are_single_key_requests)
{
    ck_assert_int_eq(PARSE("\x92\xa5"
                           "batch\x97"
                           "\x92\xa3get\xa1"
                           "a"
                           "\x92\xa4mget\x91\xa1"
                           "b"
                           "\x92\xa5"
                           "batch\x90"
                           "\x91\xa4ping"
                           "\xc0"
                           "\x92\xa3get\x92\x91\x01\x02"
                           "\x93\xa3put\xa1k\xc3"),
                     SC_OK);
    ck_assert_uint_eq(request.item_count, 7);
    ck_assert_int_eq(next_item(), SC_OK);
    ck_assert_int_eq(item.op, SC_OP_GET);
    ck_assert_int_eq(next_item(), SC_BADREQUEST);
    ck_assert_str_eq(why, "mget cannot stand in a batch: it is not about one key");
    ck_assert_int_eq(next_item(), SC_BADREQUEST);
    ck_assert_int_eq(next_item(), SC_BADREQUEST);
    ck_assert_int_eq(next_item(), SC_BADREQUEST);
    ck_assert_int_eq(next_item(), SC_BADREQUEST);
    ck_assert_int_eq(next_item(), SC_OK);
    ck_assert_int_eq(item.op, SC_OP_PUT);
    assert_slice(item.value, "\xc3");
    assert_slice(item.raw, "\x93\xa3put\xa1k\xc3");
    ck_assert(sc_mp_done(&request.items));
}
END_TEST

START_TEST(a_request_of_many_items_has_a_write_or_not)
{
    ck_assert_int_eq(PARSE("\x92\xa4mget\x91\xa1k"), SC_OK);
    ck_assert(!sc_msg_has_write(&request));
    ck_assert_int_eq(PARSE("\x92\xa4mput\x91\x92\xa1k\x01"), SC_OK);
    ck_assert(sc_msg_has_write(&request));
    ck_assert_int_eq(PARSE("\x92\xa5"
                           "batch\x94"
                           "\x92\xa3get\xa1k"
                           "\xc0"
                           "\x90"
                           "\x92\xa3put\x01"),
                     SC_OK);
    ck_assert(sc_msg_has_write(&request));
    ck_assert_int_eq(PARSE("\x92\xa5"
                           "batch\x93"
                           "\x92\xa3get\xa3put"
                           "\xc0"
                           "\x92\xa3xyz\xa1k"),
                     SC_OK);
    ck_assert(!sc_msg_has_write(&request));
    ck_assert_int_eq(next_item(), SC_OK); /* they are all still there */
    assert_slice(item.key, "put");
}
END_TEST

START_TEST(an_item_beyond_a_limit_fails_alone)
{
    uint8_t large[VALUE_MAX] = {0};
    sc_msg_put_op(&out, SC_OP_BATCH, 1);
    sc_mp_put_array(&out, 4);
    struct sc_buf deep = {0};
    put_nested(&deep, 5000);
    sc_msg_put_put(&out, SLICE("deep"), sc_buf_slice(&deep), NULL);
    deep.size = 0;
    put_nested(&deep, 128);
    sc_msg_put_put(&out, SLICE("deepest allowed"), sc_buf_slice(&deep), NULL);
    deep.size = 0;
    sc_mp_put_bin(&deep, sc_slice(large, sizeof large));
    sc_msg_put_put(&out, SLICE("large"), sc_buf_slice(&deep), NULL);
    sc_msg_put_key_request(&out, SC_OP_GET, SLICE("good"));
    sc_buf_fini(&deep);

    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(next_item(), SC_BADREQUEST);
    ck_assert_int_eq(next_item(), SC_OK);
    ck_assert_int_eq(next_item(), SC_TOOLARGE);
    ck_assert_int_eq(next_item(), SC_OK);
    assert_slice(item.key, "good");
}
END_TEST

/* ---- Other requests ---- */

START_TEST(operations_without_arguments_parse)
{
    static const enum sc_op plain[] = {SC_OP_PING,  SC_OP_COUNT, SC_OP_CLEAR,   SC_OP_STATS,
                                       SC_OP_MAP,   SC_OP_SYNC,  SC_OP_COMPACT, SC_OP_X_HELLO,
                                       SC_OP_SCRUB, SC_OP_DAMAGE};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        out.size = 0;
        sc_msg_put_op(&out, plain[i], 0);
        ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
        ck_assert_int_eq(request.op, plain[i]);
    }
}
END_TEST

START_TEST(a_scan_has_defaults)
{
    ck_assert_int_eq(PARSE("\x92\xa4scan\xc0"), SC_OK);
    ck_assert_uint_eq(request.scan.cursor.size, 0);
    ck_assert_uint_eq(request.scan.prefix.size, 0);
    ck_assert_uint_eq(request.scan.limit, SC_SCAN_LIMIT_DEFAULT);
    ck_assert(!request.scan.values);
    ck_assert_uint_eq(request.scan.last_slot, 16383);
}
END_TEST

START_TEST(a_scan_written_reads_the_same)
{
    struct sc_msg_scan scan = {.cursor = SLICE("\x01\x00\x02"),
                               .prefix = SLICE("user:"),
                               .limit = 10000,
                               .values = true,
                               .last_slot = 77};
    for (int internal = 0; internal < 2; internal++) {
        out.size = 0;
        sc_msg_put_scan(&out, &scan, internal);
        ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
        ck_assert_int_eq(request.op, internal ? SC_OP_X_SCAN : SC_OP_SCAN);
        assert_slice(request.scan.cursor, "\x01\x00\x02");
        assert_slice(request.scan.prefix, "user:");
        ck_assert_uint_eq(request.scan.limit, 10000);
        ck_assert(request.scan.values);
        ck_assert_uint_eq(request.scan.last_slot, internal ? 77 : 16383);
    }
}
END_TEST

START_TEST(requests_about_shards_parse)
{
    ck_assert_int_eq(PARSE("\x92\xa9shard.add\xaeipc:///tmp/sock"), SC_BADREQUEST); /* cut off? */
    ck_assert_int_eq(PARSE("\x92\xa9shard.add\xafipc:///tmp/sock"), SC_OK);
    assert_slice(request.url, "ipc:///tmp/sock");
    ck_assert_uint_eq(request.weight, SC_WEIGHT_DEFAULT);
    ck_assert(!request.dry_run);
    ck_assert_int_eq(PARSE("\x92\xacshard.remove\x03"), SC_OK);
    ck_assert_uint_eq(request.shard_id, 3);
    ck_assert(!request.dry_run);
    ck_assert_int_eq(PARSE("\x93\xacshard.remove\x03\x81\xa7"
                           "dry_run\xc3"),
                     SC_OK);
    ck_assert(request.dry_run);
    ck_assert_int_eq(PARSE("\x93\xacshard.weight\x04\xcd\x01\x2c"), SC_OK);
    ck_assert_uint_eq(request.shard_id, 4);
    ck_assert_uint_eq(request.weight, 300);
    ck_assert(!request.dry_run);
}
END_TEST

START_TEST(rebalance_parses_with_and_without_options)
{
    ck_assert_int_eq(PARSE("\x91\xa9rebalance"), SC_OK);
    ck_assert(!request.has_pause && !request.cancel && !request.has_rate);
    ck_assert_int_eq(PARSE("\x92\xa9rebalance\x82\xa5pause\xc3\xb0"
                           "bytes_per_second\xcd\x10\x00"),
                     SC_OK);
    ck_assert(request.has_pause && request.pause && !request.cancel && request.has_rate);
    ck_assert_uint_eq(request.bytes_per_second, 4096);
    ck_assert_int_eq(PARSE("\x92\xa9rebalance\x81\xa6"
                           "cancel\xc3"),
                     SC_OK);
    ck_assert(request.cancel && !request.has_pause && !request.has_rate);
}
END_TEST

static enum sc_status parse_grant(const uint64_t (*ranges)[2], uint32_t count)
{
    out.size = 0;
    sc_msg_put_op(&out, SC_OP_X_GRANT, 5);
    sc_mp_put_bin(&out, SLICE("0123456789abcdef"));
    sc_mp_put_uint(&out, 2);
    sc_mp_put_uint(&out, 300);
    sc_mp_put_uint(&out, 70000);
    sc_mp_put_array(&out, count);
    for (uint32_t i = 0; i < count; i++) {
        sc_mp_put_array(&out, 4);
        sc_mp_put_uint(&out, ranges[i][0]);
        sc_mp_put_uint(&out, ranges[i][1]);
        sc_mp_put_uint(&out, 2);
        sc_mp_put_cstr(&out, "ipc:///s");
    }
    return fixture_parse_buf(&out);
}

START_TEST(a_grant_lists_ranges_of_slots_in_order)
{
    static const uint64_t good[][2] = {{0, 0}, {5, 9}, {10, 16383}};
    ck_assert_int_eq(parse_grant(good, 0), SC_OK);
    ck_assert_int_eq(parse_grant(good, 3), SC_OK);
    assert_slice(request.cluster, "0123456789abcdef");
    ck_assert_uint_eq(request.shard_id, 2);
    ck_assert_uint_eq(request.term, 300);
    ck_assert_uint_eq(request.epoch, 70000);
    uint32_t count;
    ck_assert(sc_mp_array(&request.ranges, &count));
    ck_assert_uint_eq(count, 3);
    static const uint64_t beyond[][2] = {{0, 16384}};
    static const uint64_t backwards[][2] = {{4, 3}};
    static const uint64_t overlapping[][2] = {{0, 4}, {4, 5}};
    ck_assert_int_eq(parse_grant(beyond, 1), SC_BADREQUEST);
    ck_assert_int_eq(parse_grant(backwards, 1), SC_BADREQUEST);
    ck_assert_int_eq(parse_grant(overlapping, 2), SC_BADREQUEST);
}
END_TEST

/* ---- Writers of requests ---- */

START_TEST(writes_written_read_the_same)
{
    struct sc_msg_write_options options = {.has_ttl = true,
                                           .ttl_ms = 12345,
                                           .has_if_version = true,
                                           .if_version = UINT64_MAX,
                                           .has_sync = true,
                                           .sync = true};
    sc_msg_put_put(&out, SLICE("k\0"), SLICE("\xa2hi"), &options);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    assert_slice(request.key, "k\0");
    assert_slice(request.value, "\xa2hi");
    ck_assert(request.options.has_ttl && request.options.has_if_version);
    ck_assert(request.options.has_sync && request.options.sync);
    ck_assert_uint_eq(request.options.ttl_ms, 12345);
    ck_assert_uint_eq(request.options.if_version, UINT64_MAX);

    out.size = 0;
    options = (struct sc_msg_write_options){.has_expires = true, .expires_ms = 67890};
    sc_msg_put_put(&out, SLICE("k"), SLICE("\xc0"), &options);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert(request.options.has_expires && !request.options.has_ttl);
    ck_assert_uint_eq(request.options.expires_ms, 67890);

    out.size = 0;
    options = (struct sc_msg_write_options){.has_if_version = true, .if_version = 7};
    sc_msg_put_del(&out, SLICE("k"), &options);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_DEL);
    ck_assert_uint_eq(request.options.if_version, 7);

    out.size = 0;
    sc_msg_put_del(&out, SLICE("k"), NULL);
    assert_slice(sc_buf_slice(&out), "\x92\xa3"
                                     "del\xc4\x01k");

    out.size = 0;
    sc_msg_put_incr(&out, SLICE("k"), -300);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.delta, -300);

    out.size = 0;
    sc_msg_put_touch(&out, SLICE("k"), NULL);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert(request.ttl_nil);
}
END_TEST

START_TEST(a_key_is_passed_on_as_it_came)
{
    sc_msg_put_raw_key_request(&out, SC_OP_EXISTS, SLICE("\xda\x00\x01k"));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_EXISTS);
    assert_slice(request.key, "k");
    assert_slice(request.key_raw, "\xda\x00\x01k");
}
END_TEST

/* ---- Replies ---- */

static struct sc_msg_reply reply;

START_TEST(replies_written_read_the_same)
{
    uint64_t number;
    int64_t whole;
    bool truth;
    sc_msg_reply_uint(&out, UINT64_MAX);
    ck_assert(sc_msg_parse_reply(sc_buf_slice(&out), &reply));
    ck_assert_int_eq(reply.status, SC_OK);
    ck_assert_uint_eq(reply.results, 1);
    ck_assert(sc_mp_uint(&reply.result, &number) && sc_mp_done(&reply.result));
    ck_assert(number == UINT64_MAX);

    out.size = 0;
    sc_msg_reply_int(&out, -5);
    ck_assert(sc_msg_parse_reply(sc_buf_slice(&out), &reply));
    ck_assert(sc_mp_int(&reply.result, &whole) && whole == -5);

    out.size = 0;
    sc_msg_reply_bool(&out, true);
    ck_assert(sc_msg_parse_reply(sc_buf_slice(&out), &reply));
    ck_assert(sc_mp_bool(&reply.result, &truth) && truth);

    out.size = 0;
    sc_msg_reply_raw(&out, SLICE("\x92\x01\x02"));
    assert_slice(sc_buf_slice(&out), "\x92\x00\x92\x01\x02");

    out.size = 0;
    sc_msg_reply_status(&out, SC_OK, NULL);
    assert_slice(sc_buf_slice(&out), "\x91\x00");
    ck_assert(sc_msg_parse_reply(sc_buf_slice(&out), &reply));
    ck_assert_uint_eq(reply.results, 0);
}
END_TEST

START_TEST(an_error_says_why)
{
    sc_msg_reply_status(&out, SC_NOTFOUND, "no such key");
    ck_assert(sc_msg_parse_reply(sc_buf_slice(&out), &reply));
    ck_assert_int_eq(reply.status, SC_NOTFOUND);
    assert_slice(reply.why, "no such key");
    ck_assert_uint_eq(reply.results, 0);

    out.size = 0;
    sc_msg_reply_moved(&out, "gone", 12, SLICE("tcp://h:1"));
    ck_assert(sc_msg_parse_reply(sc_buf_slice(&out), &reply));
    ck_assert_int_eq(reply.status, SC_MOVED);
    ck_assert_uint_eq(reply.results, 2);
    uint64_t epoch;
    struct sc_slice url;
    ck_assert(sc_mp_uint(&reply.result, &epoch) && sc_mp_str(&reply.result, &url));
    ck_assert_uint_eq(epoch, 12);
    assert_slice(url, "tcp://h:1");
    ck_assert(sc_mp_done(&reply.result));

    out.size = 0;
    sc_msg_reply_status(&out, SC_MSG_AGAIN, NULL);
    ck_assert(sc_msg_parse_reply(sc_buf_slice(&out), &reply));
    ck_assert_int_eq(reply.status, SC_MSG_AGAIN);
    ck_assert_uint_eq(reply.why.size, 0);
}
END_TEST

START_TEST(what_is_no_reply_is_told)
{
    static const struct sc_slice bodies[] = {
        BYTES(""),
        BYTES("\xc0"),
        BYTES("\x90"),
        BYTES("\x91\xff"),
        BYTES("\x91\x65"),
        BYTES("\x91\xc0"),
        BYTES("\x92\x01\x02"),
        BYTES("\x92\x00"),
        BYTES("\x92\x01\xa5no"),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        ck_assert(!sc_msg_parse_reply(fixture_copy(bodies[i].data, bodies[i].size), &reply));
    }
}
END_TEST

static void add_parsing(Suite *suite)
{
    TCase *tcase = tcase_create("parse");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_get_has_a_key);
    tcase_add_test(tcase, str_and_bin_of_any_width_are_the_same_key);
    tcase_add_test(tcase, a_put_keeps_the_value_as_it_was_sent);
    tcase_add_test(tcase, a_put_takes_its_three_options_in_any_order);
    tcase_add_test(tcase, an_empty_map_of_options_is_none);
    tcase_add_test(tcase, an_unsigned_number_may_come_signed);
    tcase_add_test(tcase, incr_takes_the_whole_of_int64);
    tcase_add_test(tcase, touch_sets_or_removes_the_expiry);
    tcase_add_test(tcase, a_time_to_live_is_between_1_ms_and_100_years);
    tcase_add_test(tcase, a_key_has_1_to_65535_bytes);
    tcase_add_test(tcase, a_value_is_measured_encoded);
    tcase_add_test(tcase, a_value_is_nested_128_deep_at_most);
    tcase_add_test(tcase, what_is_refused_is_explained);
    tcase_add_test(tcase, the_operation_is_known_when_only_its_arguments_are_wrong);
    tcase_add_test(tcase, every_operation_is_found_by_its_name_and_no_other);
    tcase_add_test(tcase, kinds_follow_the_list);
    tcase_add_test(tcase, items_of_mget_and_mdel_are_keys);
    tcase_add_test(tcase, items_of_mput_are_pairs_with_options);
    tcase_add_test(tcase, items_of_a_batch_are_single_key_requests);
    tcase_add_test(tcase, a_request_of_many_items_has_a_write_or_not);
    tcase_add_test(tcase, an_item_beyond_a_limit_fails_alone);
    tcase_add_test(tcase, operations_without_arguments_parse);
    tcase_add_test(tcase, a_scan_has_defaults);
    tcase_add_test(tcase, requests_about_shards_parse);
    tcase_add_test(tcase, rebalance_parses_with_and_without_options);
    tcase_add_test(tcase, a_grant_lists_ranges_of_slots_in_order);
    suite_add_tcase(suite, tcase);
}

static void add_writing(Suite *suite)
{
    TCase *tcase = tcase_create("write");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_scan_written_reads_the_same);
    tcase_add_test(tcase, writes_written_read_the_same);
    tcase_add_test(tcase, a_key_is_passed_on_as_it_came);
    tcase_add_test(tcase, replies_written_read_the_same);
    tcase_add_test(tcase, an_error_says_why);
    tcase_add_test(tcase, what_is_no_reply_is_told);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("msg");
    add_parsing(suite);
    add_writing(suite);
    return sc_check_main(suite);
}
