/* The messages about snapshots: written, parsed and refused. Damaged ones: test_msg_hostile.c. */
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

START_TEST(a_page_is_asked_for_by_snapshot_shard_and_cursor)
{
    sc_msg_put_snapshot_read(&out, UINT64_MAX, 3, SLICE("a key"));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_SNAPSHOT_READ);
    ck_assert_uint_eq(request.copy.id, UINT64_MAX);
    ck_assert_uint_eq(request.copy.shard_id, 3);
    assert_slice(request.copy.cursor, "a key");
    out.size = 0;
    sc_msg_put_x_page(&out, 1, SLICE(""));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_PAGE);
    ck_assert_uint_eq(request.copy.id, 1);
    ck_assert_uint_eq(request.copy.cursor.size, 0);
}
END_TEST

START_TEST(snapshots_are_opened_under_a_map_and_closed_by_their_id)
{
    sc_msg_put_x_snapshot(&out, 7, 12);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_SNAPSHOT);
    ck_assert_uint_eq(request.copy.id, 7);
    ck_assert_uint_eq(request.copy.epoch, 12);
    out.size = 0;
    sc_msg_put_x_forget(&out, 7);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_FORGET);
    ck_assert_uint_eq(request.copy.id, 7);
    out.size = 0;
    sc_msg_put_snapshot_close(&out, 8);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_SNAPSHOT_CLOSE);
    ck_assert_uint_eq(request.copy.id, 8);
    ck_assert_int_eq(PARSE("\x91\xa8snapshot"), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_SNAPSHOT);
}
END_TEST

START_TEST(other_arguments_are_refused)
{
    ck_assert_int_eq(PARSE("\x92\xa8snapshot\x01"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x92\xaesnapshot.close\x00"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x92\xaesnapshot.close\xa1x"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x94\xadsnapshot.read\x01\xa1x\xc0"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x94\xadsnapshot.read\x01\x01\xa0"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x94\xadsnapshot.read\x01\x01\x05"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x93\xaax.snapshot\x01\xc0"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x93\xa6x.page\x01\xc2"), SC_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(why, "cursor"));
}
END_TEST

static bool take(const char *bytes, size_t size, struct sc_msg_copied *copied)
{
    struct sc_mp mp = sc_mp(fixture_copy(bytes, size));
    return sc_msg_take_copied(&mp, copied) && sc_mp_done(&mp);
}
#define TAKE(literal, copied) take(literal, sizeof(literal) - 1, copied)

START_TEST(a_page_has_records_and_what_cannot_be_read)
{
    struct sc_slice next;
    uint64_t now_ms;
    uint32_t count;
    struct sc_msg_copied copied;
    struct sc_mp mp = sc_mp(SLICE("\xc4\x03key\xcd\x01\x00\x92\xc0\xc0"));
    ck_assert(sc_msg_take_page(&mp, &next, &now_ms, &count));
    assert_slice(next, "key");
    ck_assert_uint_eq(now_ms, 256);
    ck_assert_uint_eq(count, 2);
    mp = sc_mp(SLICE("\xc0\x05\x90"));
    ck_assert(sc_msg_take_page(&mp, &next, &now_ms, &count));
    ck_assert_uint_eq(next.size, 0);
    mp = sc_mp(SLICE("\xc4\x00\x05\x90"));
    ck_assert(!sc_msg_take_page(&mp, &next, &now_ms, &count));

    ck_assert(TAKE("\x94\xc4\x01k\x92\x01\x02\x07\xc0", &copied));
    ck_assert_int_eq(copied.status, SC_OK);
    assert_slice(copied.key, "k");
    assert_slice(copied.value, "\x92\x01\x02");
    ck_assert_uint_eq(copied.version, 7);
    ck_assert_uint_eq(copied.expires_ms, 0);
    ck_assert(TAKE("\x94\xc4\x01k\x01\x07\x63", &copied));
    ck_assert_uint_eq(copied.expires_ms, 99);
    ck_assert(TAKE("\x93\xc4\x01k\x0b\xa3why", &copied));
    ck_assert_int_eq(copied.status, SC_CORRUPT);
    assert_slice(copied.why, "why");
    ck_assert(!TAKE("\x93\xc4\x01k\x00\xa3why", &copied));
    ck_assert(!TAKE("\x93\xc4\x01k\x63\xa3why", &copied));
    ck_assert(!TAKE("\x94\xc4\x01k\x01\x07\xa1x", &copied));
    ck_assert(!TAKE("\x92\xc4\x01k\x01", &copied));
    ck_assert(!TAKE("\x94\xc4\x05k", &copied));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("copy");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_page_is_asked_for_by_snapshot_shard_and_cursor);
    tcase_add_test(tests, snapshots_are_opened_under_a_map_and_closed_by_their_id);
    tcase_add_test(tests, other_arguments_are_refused);
    tcase_add_test(tests, a_page_has_records_and_what_cannot_be_read);
    Suite *suite = suite_create("msg, copy");
    suite_add_tcase(suite, tests);
    return sc_check_main(suite);
}
