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

START_TEST(a_backup_is_asked_for_with_options)
{
    ck_assert_int_eq(PARSE("\x91\xa6"
                           "backup"),
                     SC_OK);
    ck_assert_int_eq(request.op, SC_OP_BACKUP);
    ck_assert(request.copy.dir.size == 0 && request.copy.link && !request.cancel);
    ck_assert_uint_eq(request.bytes_per_second, SC_MSG_BACKUP_RATE_DEFAULT);
    ck_assert_int_eq(PARSE("\x92\xa6"
                           "backup\x83\xa3"
                           "dir\xa4/a/b\xa4"
                           "copy\xc3\xb0"
                           "bytes_per_second\x00"),
                     SC_OK);
    assert_slice(request.copy.dir, "/a/b");
    ck_assert(!request.copy.link && request.has_rate);
    ck_assert_uint_eq(request.bytes_per_second, 0);
    ck_assert_int_eq(PARSE("\x92\xa6"
                           "backup\x81\xa6"
                           "cancel\xc3"),
                     SC_OK);
    ck_assert(request.cancel);
}
END_TEST

START_TEST(a_backup_begins_at_a_shard_and_tells_its_progress)
{
    sc_msg_put_x_backup(&out, 9, 4, SLICE("/a/b"), false, 1000, 77);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_BACKUP);
    ck_assert_uint_eq(request.copy.id, 9);
    ck_assert_uint_eq(request.copy.epoch, 4);
    ck_assert_uint_eq(request.copy.rate, 1000);
    ck_assert_uint_eq(request.copy.label, 77);
    assert_slice(request.copy.dir, "/a/b");
    ck_assert(!request.copy.link);
    out.size = 0;
    sc_msg_put_x_progress(&out, 9, true);
    ck_assert_int_eq(fixture_parse_buf(&out), SC_OK);
    ck_assert_int_eq(request.op, SC_OP_X_PROGRESS);
    ck_assert(request.copy.go_on);

    ck_assert_int_eq(PARSE("\x97\xa8x.backup\x01\x01\xa3"
                           "a/b\xc3\x01\x01"),
                     SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x97\xa8x.backup\x01\x01\xa3/\0b\xc3\x01\x01"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x97\xa8x.backup\x01\x01\xa2/b\x01\x01\x01"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x97\xa8x.backup\x01\x01\xa2/b\xc3\x01\x01"), SC_OK);
    ck_assert_int_eq(PARSE("\x97\xa8x.backup\x01\x01\xa2/b\xc3\x01\x00"), SC_BADREQUEST);
    ck_assert_int_eq(PARSE("\x93\xaax.progress\x01\x01"), SC_BADREQUEST);
}
END_TEST

static bool take_progress(struct sc_msg_progress *progress)
{
    struct sc_msg_reply reply;
    struct sc_slice copy = fixture_copy(out.data, out.size);
    return sc_msg_parse_reply(copy, &reply) && reply.status == SC_OK &&
           sc_msg_take_progress(&reply.result, progress);
}

START_TEST(progress_is_read_as_it_was_written)
{
    struct sc_msg_progress running = {.cut = true, .bytes = 100, .bytes_done = 7};
    struct sc_msg_progress failed = {
        .state = SC_MSG_BACKUP_FAILED, .status = SC_IO, .why = SLICE("no space")};
    struct sc_msg_progress done = {.state = SC_MSG_BACKUP_DONE,
                                   .cut = true,
                                   .time_ms = 1,
                                   .keys = 2,
                                   .version = UINT64_MAX,
                                   .damaged = 3,
                                   .linked_bytes = 4,
                                   .file_count = 2};
    const struct sc_msg_backup_file one = {SLICE("0000000001.data"), 1000, UINT64_MAX, true};
    const struct sc_msg_backup_file two = {SLICE("MANIFEST"), 384, 5, false};
    struct sc_msg_progress got;
    sc_msg_reply_progress(&out, &running);
    ck_assert(take_progress(&got));
    ck_assert(got.state == SC_MSG_BACKUP_RUNNING && got.cut && got.bytes == 100);
    ck_assert_uint_eq(got.bytes_done, 7);
    out.size = 0;
    sc_msg_reply_progress(&out, &failed);
    ck_assert(take_progress(&got));
    ck_assert(got.state == SC_MSG_BACKUP_FAILED && got.status == SC_IO && !got.cut);
    assert_slice(got.why, "no space");
    out.size = 0;
    sc_msg_reply_progress(&out, &done);
    sc_msg_put_backup_file(&out, &one);
    sc_msg_put_backup_file(&out, &two);
    ck_assert(take_progress(&got));
    ck_assert(got.keys == 2 && got.version == UINT64_MAX && got.damaged == 3 && got.time_ms == 1);
    ck_assert_uint_eq(got.linked_bytes, 4);
    ck_assert_uint_eq(got.file_count, 2);
    struct sc_msg_backup_file file = sc_msg_next_backup_file(&got.files);
    assert_slice(file.name, "0000000001.data");
    ck_assert(file.size == 1000 && file.checksum == UINT64_MAX && file.linked);
    file = sc_msg_next_backup_file(&got.files);
    assert_slice(file.name, "MANIFEST");
    /* Cut anywhere, or with a name that leads elsewhere, it is refused. */
    for (size_t size = out.size; size-- > 0;) {
        out.size = size;
        ck_assert(!take_progress(&got));
    }
    sc_msg_reply_progress(&out, &done);
    const struct sc_msg_backup_file outside = {SLICE("../x"), 1, 1, false};
    sc_msg_put_backup_file(&out, &one);
    sc_msg_put_backup_file(&out, &outside);
    ck_assert(!take_progress(&got));
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
    tcase_add_test(tests, a_backup_is_asked_for_with_options);
    tcase_add_test(tests, a_backup_begins_at_a_shard_and_tells_its_progress);
    tcase_add_test(tests, progress_is_read_as_it_was_written);
    tcase_add_test(tests, a_page_has_records_and_what_cannot_be_read);
    Suite *suite = suite_create("msg, copy");
    suite_add_tcase(suite, tests);
    return sc_check_main(suite);
}
