/* The messages that move slots: written, parsed and refused. Damaged ones: test_msg_hostile.c. */
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

static const struct sc_msg_range some_ranges[] = {{0, 0}, {7, 262}, {16383, 16383}};

static void assert_ranges(void)
{
    ck_assert_uint_eq(request.move.range_count, 3);
    for (size_t i = 0; i < 3; i++) {
        struct sc_msg_range range = sc_msg_next_range(&request.move);
        ck_assert_uint_eq(range.first, some_ranges[i].first);
        ck_assert_uint_eq(range.last, some_ranges[i].last);
    }
}

/* ---- Requests ---- */

START_TEST(an_import_says_what_is_going_to_come)
{
    sc_msg_put_import(&out, 9, some_ranges, 3, UINT64_C(1) << 40, 12345);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_IMPORT);
    ck_assert_uint_eq(request.move.move, 9);
    assert_ranges();
    ck_assert_uint_eq(request.move.bytes, UINT64_C(1) << 40);
    ck_assert_uint_eq(request.move.keys, 12345);
}
END_TEST

START_TEST(an_export_begins_or_goes_on_from_a_mark)
{
    sc_msg_put_export(&out, UINT64_MAX, some_ranges, 3, SLICE(""));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_EXPORT);
    ck_assert_uint_eq(request.move.move, UINT64_MAX);
    ck_assert_uint_eq(request.move.mark.size, 0);
    assert_ranges();
    out.size = 0;
    sc_msg_put_export(&out, 1, some_ranges, 3, SLICE("a mark"));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    assert_slice(request.move.mark, "a mark");
}
END_TEST

START_TEST(a_read_and_a_write_carry_the_cursor)
{
    sc_msg_put_read(&out, 9, 77, SLICE("cursor"));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_READ);
    ck_assert_uint_eq(request.move.move, 9);
    ck_assert_uint_eq(request.move.token, 77);
    assert_slice(request.move.cursor, "cursor");
    out.size = 0;
    sc_msg_put_write(&out, 9, 78, SLICE("next"), SLICE("mark"), SLICE("frame\0frame"));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_WRITE);
    ck_assert_uint_eq(request.move.token, 78);
    assert_slice(request.move.cursor, "next");
    assert_slice(request.move.mark, "mark");
    assert_slice(request.move.frame, "frame\0frame");
}
END_TEST

START_TEST(the_end_of_a_copy_is_sealed_and_finished)
{
    sc_msg_put_seal(&out, 9, 1, 5000);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_SEAL);
    ck_assert_uint_eq(request.move.token, 1);
    ck_assert_uint_eq(request.move.until_ms, 5000);
    out.size = 0;
    sc_msg_put_finish(&out, 9, 2, 100, UINT64_MAX, UINT64_C(1) << 51);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_FINISH);
    ck_assert_uint_eq(request.move.token, 2);
    ck_assert_uint_eq(request.move.count, 100);
    ck_assert_uint_eq(request.move.digest, UINT64_MAX);
    ck_assert_uint_eq(request.move.version, UINT64_C(1) << 51);
}
END_TEST

START_TEST(a_move_is_ended_by_its_number_alone)
{
    sc_msg_put_drop(&out, 9);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_DROP);
    ck_assert_uint_eq(request.move.move, 9);
    out.size = 0;
    sc_msg_put_release(&out, 10);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_RELEASE);
    ck_assert_uint_eq(request.move.move, 10);
}
END_TEST

static enum sc_status parse_ranges(const struct sc_msg_range *ranges, size_t count)
{
    out.size = 0;
    sc_msg_put_export(&out, 1, ranges, count, SLICE(""));
    return fixture_parse_buf(&out);
}

START_TEST(ranges_ascend_and_do_not_overlap)
{
    static const struct sc_msg_range touching[] = {{0, 9}, {10, 10}, {11, 16383}};
    static const struct sc_msg_range overlapping[] = {{0, 9}, {9, 12}};
    static const struct sc_msg_range falling[] = {{20, 29}, {0, 9}};
    static const struct sc_msg_range backwards[] = {{9, 0}};
    static const struct sc_msg_range beyond[] = {{0, 16384}};
    ck_assert_int_eq(parse_ranges(touching, 3), SC_OK);
    ck_assert_int_eq(parse_ranges(overlapping, 2), SC_BADREQUEST);
    ck_assert_str_eq(why, "x.export: the ranges must be [[first slot, last slot]...]");
    ck_assert_int_eq(parse_ranges(falling, 2), SC_BADREQUEST);
    ck_assert_int_eq(parse_ranges(backwards, 1), SC_BADREQUEST);
    ck_assert_int_eq(parse_ranges(beyond, 1), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x94\xa8x.export\x01\x90\xc4\0"), SC_BADREQUEST); /* none at all */
}
END_TEST

START_TEST(marks_and_cursors_have_a_limit)
{
    static char bytes[SC_MSG_CURSOR_MAX + 1];
    sc_msg_put_export(&out, 1, some_ranges, 3, sc_slice(bytes, SC_MSG_MARK_MAX));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    out.size = 0;
    sc_msg_put_export(&out, 1, some_ranges, 3, sc_slice(bytes, SC_MSG_MARK_MAX + 1));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_BADREQUEST);
    out.size = 0;
    sc_msg_put_read(&out, 1, 1, sc_slice(bytes, SC_MSG_CURSOR_MAX));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    out.size = 0;
    sc_msg_put_read(&out, 1, 1, sc_slice(bytes, SC_MSG_CURSOR_MAX + 1));
    ck_assert_int_eq(fixture_parse_buf(&out), SC_BADREQUEST);
}
END_TEST

START_TEST(a_shard_is_added_with_a_weight)
{
    ck_assert_int_eq(PARSE("\x92\xa9shard.add\xa3u:x"), SC_OK);
    ck_assert_uint_eq(request.weight, SC_WEIGHT_DEFAULT);
    ck_assert_int_eq(PARSE("\x93\xa9shard.add\xa3u:x\x81\xa6weight\xcc\xc8"), SC_OK);
    ck_assert_uint_eq(request.weight, 200);
    assert_slice(request.url, "u:x");
    ck_assert_int_eq(PARSE("\x93\xa9shard.add\xa3u:x\x81\xa6weight\x00"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x93\xa9shard.add\xa3u:x\x81\xa6weight\xce\x00\x0f\x42\x41"),
                     SC_BADREQUEST);
    ck_assert_str_eq(why, "shard.add: the option \"weight\" must be a whole number from 1 to "
                          "1000000");
}
END_TEST

/* ---- Replies ---- */

static struct sc_msg_reply parse_reply(void)
{
    struct sc_msg_reply reply;
    ck_assert(sc_msg_parse_reply(fixture_copy(out.data, out.size), &reply));
    return reply;
}

START_TEST(what_an_import_answers_is_read_back)
{
    struct sc_msg_import_reply given = {UINT64_MAX, SLICE("cursor"), SLICE("mark")};
    struct sc_msg_import_reply got = {0};
    sc_msg_reply_import(&out, &given);
    struct sc_msg_reply reply = parse_reply();
    ck_assert(sc_msg_read_import(&reply, &got));
    ck_assert_uint_eq(got.token, UINT64_MAX);
    assert_slice(got.cursor, "cursor");
    assert_slice(got.mark, "mark");
}
END_TEST

START_TEST(what_an_export_answers_is_read_back)
{
    struct sc_msg_export_reply given = {5, SLICE("mark"), 1000, 1 << 30};
    struct sc_msg_export_reply got = {0};
    sc_msg_reply_export(&out, &given);
    struct sc_msg_reply reply = parse_reply();
    ck_assert(sc_msg_read_export(&reply, &got));
    ck_assert_uint_eq(got.token, 5);
    assert_slice(got.mark, "mark");
    ck_assert_uint_eq(got.keys, 1000);
    ck_assert_uint_eq(got.bytes, 1 << 30);
}
END_TEST

START_TEST(what_a_read_answers_is_read_back)
{
    struct sc_msg_read_reply given = {SLICE("next"), SC_MSG_GAP_UNKNOWN, SLICE("a frame")};
    struct sc_msg_read_reply got = {0};
    sc_msg_reply_read(&out, &given);
    struct sc_msg_reply reply = parse_reply();
    ck_assert(sc_msg_read_read(&reply, &got));
    assert_slice(got.cursor, "next");
    ck_assert(got.gap == SC_MSG_GAP_UNKNOWN);
    assert_slice(got.frame, "a frame");
}
END_TEST

START_TEST(what_a_seal_answers_is_read_back)
{
    struct sc_msg_seal_reply given = {1000, UINT64_MAX - 1, UINT64_C(1) << 51};
    struct sc_msg_seal_reply got = {0};
    sc_msg_reply_seal(&out, &given);
    struct sc_msg_reply reply = parse_reply();
    ck_assert(sc_msg_read_seal(&reply, &got));
    ck_assert_uint_eq(got.count, 1000);
    ck_assert_uint_eq(got.digest, UINT64_MAX - 1);
    ck_assert_uint_eq(got.version, UINT64_C(1) << 51);
}
END_TEST

START_TEST(slots_are_read_one_after_the_other)
{
    const struct sc_msg_slots given[] = {{0, 0, 10, 1000}, {1, 16383, 0, 0}};
    sc_mp_put_array(&out, 2);
    sc_mp_put_uint(&out, SC_OK);
    sc_mp_put_array(&out, 2);
    sc_msg_put_slots(&out, &given[0]);
    sc_msg_put_slots(&out, &given[1]);
    struct sc_msg_reply reply = parse_reply();
    uint32_t count;
    ck_assert(sc_msg_read_slots(&reply, &count));
    ck_assert_uint_eq(count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct sc_msg_slots got;
        ck_assert(sc_msg_next_slots(&reply, &got));
        ck_assert_uint_eq(got.first, given[i].first);
        ck_assert_uint_eq(got.last, given[i].last);
        ck_assert_uint_eq(got.keys, given[i].keys);
        ck_assert_uint_eq(got.bytes, given[i].bytes);
    }
    struct sc_msg_slots more;
    ck_assert(!sc_msg_next_slots(&reply, &more));
}
END_TEST

START_TEST(an_error_or_too_few_results_are_no_answer)
{
    struct sc_msg_import_reply import;
    struct sc_msg_export_reply export;
    struct sc_msg_read_reply read;
    struct sc_msg_seal_reply seal;
    uint32_t count;
    sc_msg_reply_status(&out, SC_BUSY, "try again");
    struct sc_msg_reply reply = parse_reply();
    ck_assert(!sc_msg_read_import(&reply, &import) && !sc_msg_read_export(&reply, &export));
    ck_assert(!sc_msg_read_read(&reply, &read) && !sc_msg_read_seal(&reply, &seal));
    ck_assert(!sc_msg_read_slots(&reply, &count));
    out.size = 0;
    sc_msg_reply_status(&out, SC_OK, NULL);
    reply = parse_reply();
    ck_assert(!sc_msg_read_import(&reply, &import) && !sc_msg_read_export(&reply, &export));
    ck_assert(!sc_msg_read_read(&reply, &read) && !sc_msg_read_seal(&reply, &seal));
    ck_assert(!sc_msg_read_slots(&reply, &count));
    out.size = 0;
    sc_msg_reply_bool(&out, true); /* of the wrong type */
    reply = parse_reply();
    ck_assert(!sc_msg_read_slots(&reply, &count));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("msg_move");
    TCase *t = tcase_create("requests");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_import_says_what_is_going_to_come);
    tcase_add_test(t, an_export_begins_or_goes_on_from_a_mark);
    tcase_add_test(t, a_read_and_a_write_carry_the_cursor);
    tcase_add_test(t, the_end_of_a_copy_is_sealed_and_finished);
    tcase_add_test(t, a_move_is_ended_by_its_number_alone);
    tcase_add_test(t, ranges_ascend_and_do_not_overlap);
    tcase_add_test(t, marks_and_cursors_have_a_limit);
    tcase_add_test(t, a_shard_is_added_with_a_weight);
    suite_add_tcase(suite, t);
    t = tcase_create("replies");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_an_import_answers_is_read_back);
    tcase_add_test(t, what_an_export_answers_is_read_back);
    tcase_add_test(t, what_a_read_answers_is_read_back);
    tcase_add_test(t, what_a_seal_answers_is_read_back);
    tcase_add_test(t, slots_are_read_one_after_the_other);
    tcase_add_test(t, an_error_or_too_few_results_are_no_answer);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
