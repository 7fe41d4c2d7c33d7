/* Every message cut at every byte, with every byte changed, and damaged at random: no parse
 * crashes, reads over the end, or accepts what is not a request and nothing else. */
#include "tests/common/mp_random.h"
#include "tests/common/msg_fixture.h"

#include "tests/common/msg_check.h"

#define SAMPLES_MAX 64

static struct sc_buf samples[SAMPLES_MAX]; /* one request each */
static size_t sample_count;

static struct sc_buf *add(void)
{
    ck_assert_uint_lt(sample_count, SAMPLES_MAX);
    return &samples[sample_count++];
}

static const struct sc_msg_write_options all_options = {.has_ttl = true,
                                                        .ttl_ms = 60000,
                                                        .has_if_version = true,
                                                        .if_version = UINT64_C(1) << 50,
                                                        .has_sync = true,
                                                        .sync = true};
static const struct sc_msg_write_options one_option = {.has_if_version = true, .if_version = 5};

static void add_single(void)
{
    static const enum sc_op plain[] = {SC_OP_GET, SC_OP_EXISTS, SC_OP_META, SC_OP_DEL};
    struct sc_slice key = SLICE("user:\0001000");
    struct sc_slice value = SLICE("\x84\xa1"
                                  "a\x92\x01\xcb\x3f\xf0\0\0\0\0\0\0\xa1"
                                  "b\xc0\xa1"
                                  "c\xc4\x03xyz\xa1"
                                  "d\xd6\x05\1\2\3\4");
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        sc_msg_put_key_request(add(), plain[i], key);
    }
    sc_msg_put_put(add(), key, value, NULL);
    sc_msg_put_put(add(), key, value, &all_options);
    sc_msg_put_del(add(), key, &one_option);
    uint64_t ttl_ms = 100000;
    sc_msg_put_touch(add(), key, &ttl_ms);
    sc_msg_put_touch(add(), key, NULL);
    sc_msg_put_incr(add(), key, INT64_MIN);
    sc_msg_put_incr(add(), key, 1);
}

/* Every single-key request so far, as the items of a list. */
static void add_batch(enum sc_op op, size_t count)
{
    struct sc_buf *out = add();
    sc_msg_put_op(out, op, 1);
    sc_mp_put_array(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        sc_buf_append_slice(out, sc_buf_slice(&samples[i]));
    }
}

static void add_multi(void)
{
    size_t singles = sample_count;
    add_batch(SC_OP_BATCH, singles);
    add_batch(SC_OP_X_JOIN, singles);
    add_batch(SC_OP_X_PEEK, singles);
    static const struct sc_slice lists[] = {
        BYTES("\x92\xa4mget\x93\xa1"
              "a\xc4\x01"
              "b\xd9\x02zz"),
        BYTES("\x92\xa4mdel\x92\xa1"
              "a\xc5\x00\x01"
              "b"),
        BYTES("\x92\xa4mput\x92\x92\xa1"
              "a\x01\x93\xa1"
              "b\x91\xc0\x81\xa6ttl_ms\x09"),
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        sc_buf_append_slice(add(), lists[i]);
    }
}

static void add_others(void)
{
    for (enum sc_op op = 0; op < SC_OP_NONE; op++) {
        struct sc_buf *out = add();
        sc_msg_put_op(out, op, 0);
        struct sc_msg_request parsed;
        if (sc_msg_parse_request(sc_buf_slice(out), &limits, &parsed, NULL) != SC_OK) {
            sc_buf_fini(out); /* it needs arguments */
            sample_count--;
        }
    }
    struct sc_msg_scan scan = {SLICE("\1\2\3\4"), SLICE("user:"), 500, true, 9000};
    sc_msg_put_scan(add(), &scan, false);
    sc_msg_put_scan(add(), &scan, true);
    static const struct sc_slice others[] = {
        BYTES("\x92\xa9shard.add\xb0tcp://host:7701/"),
        BYTES("\x93\xa9shard.add\xb0tcp://host:7701/\x81\xa6weight\xcc\xc8"),
        BYTES("\x92\xacshard.remove\xcd\x01\x00"),
        BYTES("\x93\xacshard.weight\x07\xcd\x01\x00"),
        BYTES("\x94\xacshard.weight\x07\xcd\x01\x00\x81\xa7"
              "dry_run\xc3"),
        BYTES("\x92\xa9rebalance\x82\xa5pause\xc2\xb0"
              "bytes_per_second\xce\x00\x10\x00\x00"),
        BYTES("\x92\xa9rebalance\x81\xa6"
              "cancel\xc3"),
        BYTES("\x92\xa6"
              "config\x82\xacmerge_paused\xc3\xb0merge_dead_bytes\xcd\x10\x00"),
        BYTES("\x92\xa7x.merge\xc3"),
        BYTES("\x93\xa7x.adopt\xc4\x10"
              "0123456789abcdef\x02"),
        BYTES("\x96\xa7x.grant\xc4\x10"
              "0123456789abcdef\x02\x09\xcd\x01\x00\x92\x94\x00\xcd\x10\x00\x02\xa3u:x"
              "\x94\xcd\x20\x00\xcd\x3f\xff\x02\xa3u:x"),
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        sc_buf_append_slice(add(), others[i]);
    }
}

static void add_moves(void)
{
    static const struct sc_msg_range ranges[] = {{0, 255}, {300, 300}, {16000, 16383}};
    sc_msg_put_import(add(), 7, ranges, 3, UINT64_C(1) << 30, 1000);
    sc_msg_put_export(add(), 7, ranges, 3, SLICE("mark"));
    sc_msg_put_read(add(), 7, UINT64_MAX, SLICE(""));
    sc_msg_put_write(add(), 7, 1, SLICE("cursor"), SLICE("mark"), SLICE("a frame"));
    sc_msg_put_seal(add(), 7, 1, 123456789);
    sc_msg_put_finish(add(), 7, 1, 1000, UINT64_MAX, UINT64_C(1) << 50);
    sc_msg_put_drop(add(), 7);
    sc_msg_put_release(add(), 7);
}

static void add_copies(void)
{
    sc_msg_put_snapshot_read(add(), 7, 2, SLICE("a key"));
    sc_msg_put_snapshot_close(add(), UINT64_MAX);
    sc_msg_put_x_snapshot(add(), 7, 12);
    sc_msg_put_x_page(add(), 7, SLICE(""));
    sc_msg_put_x_forget(add(), 7);
    sc_msg_put_x_backup(add(), 7, 12, SLICE("/some/where"), true, 1000000, 7);
    sc_msg_put_x_progress(add(), 7, true);
    static const struct sc_slice backup = BYTES("\x92\xa6"
                                                "backup\x83\xa3"
                                                "dir\xa2/x\xa4"
                                                "copy\xc3\xb0"
                                                "bytes_per_second\xcd\x10\x00");
    sc_buf_append_slice(add(), backup);
}

static void setup(void)
{
    sample_count = 0;
    add_single();
    add_multi();
    add_others();
    add_moves();
    add_copies();
}

static void teardown(void)
{
    for (size_t i = 0; i < sample_count; i++) {
        sc_buf_fini(&samples[i]);
    }
    memset(samples, 0, sizeof samples);
    fixture_fini();
}

static bool check(const void *bytes, size_t size)
{
    memset(&request, 0xa5, sizeof request);
    return check_message(fixture_copy(bytes, size), &limits, &request);
}

START_TEST(every_sample_is_a_request)
{
    bool seen[SC_OP_NONE] = {false};
    for (size_t i = 0; i < sample_count; i++) {
        ck_assert(check(samples[i].data, samples[i].size));
        seen[request.op] = true;
    }
    for (enum sc_op op = 0; op < SC_OP_NONE; op++) {
        ck_assert_msg(seen[op], "no sample of %s", sc_op_name(op));
    }
}
END_TEST

START_TEST(a_request_cut_anywhere_is_refused)
{
    for (size_t i = 0; i < sample_count; i++) {
        for (size_t size = 0; size < samples[i].size; size++) {
            must(!check(samples[i].data, size));
        }
    }
}
END_TEST

START_TEST(a_request_with_anything_behind_it_is_refused)
{
    for (size_t i = 0; i < sample_count; i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t more = (uint8_t)byte;
            sc_buf_append(&samples[i], &more, 1);
            must(!check(samples[i].data, samples[i].size));
            samples[i].size--;
        }
    }
}
END_TEST

START_TEST(a_request_with_a_byte_changed_does_no_harm)
{
    for (size_t i = 0; i < sample_count; i++) {
        for (size_t at = 0; at < samples[i].size; at++) {
            uint8_t right = samples[i].data[at];
            for (unsigned byte = 0; byte < 256; byte++) {
                samples[i].data[at] = (uint8_t)byte;
                (void)check(samples[i].data, samples[i].size);
            }
            samples[i].data[at] = right;
        }
    }
}
END_TEST

START_TEST(damaged_requests_do_no_harm)
{
    struct test_random random = test_random_start("damaged requests");
    struct sc_buf damaged = {0};
    unsigned accepted = 0;
    for (unsigned i = 0; i < 200000; i++) {
        damaged.size = 0;
        sc_buf_append_slice(&damaged,
                            sc_buf_slice(&samples[test_random_below(&random, sample_count)]));
        random_damage(&random, &damaged);
        accepted += check(damaged.data, damaged.size);
    }
    printf("damaged requests: %u of 200000 accepted\n", accepted);
    sc_buf_fini(&damaged);
}
END_TEST

START_TEST(requests_of_random_values_do_no_harm)
{
    struct test_random random = test_random_start("random requests");
    struct sc_buf body = {0};
    for (unsigned i = 0; i < 200000; i++) {
        body.size = 0;
        uint32_t count = (uint32_t)test_random_below(&random, 4);
        sc_msg_put_op(&body, (enum sc_op)test_random_below(&random, SC_OP_NONE), count);
        for (uint32_t j = 0; j < count; j++) {
            random_value(&random, &body, 3);
        }
        (void)check(body.data, body.size);
    }
    sc_buf_fini(&body);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("msg, hostile");
    TCase *tcase = tcase_create("hostile");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, every_sample_is_a_request);
    tcase_add_test(tcase, a_request_cut_anywhere_is_refused);
    tcase_add_test(tcase, a_request_with_anything_behind_it_is_refused);
    tcase_add_test(tcase, a_request_with_a_byte_changed_does_no_harm);
    tcase_add_test(tcase, damaged_requests_do_no_harm);
    tcase_add_test(tcase, requests_of_random_values_do_no_harm);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
