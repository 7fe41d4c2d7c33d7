#include "common/bytes.h"
#include "common/sp_frame.h"
#include "tests/check_main.h"

#define MAX 1000

/* A frame with `hops` hop words, an id and `body` bytes. */
static struct sc_buf frame_of(bool ipc, uint32_t hops, size_t body)
{
    uint8_t words[4 * 64];
    for (uint32_t i = 0; i < hops; i++) {
        sc_be32_put(words + (size_t)4 * i, i + 1);
    }
    sc_be32_put(words + (size_t)4 * hops, 0x80000007);
    struct sc_buf out = {0};
    size_t begin = sc_sp_frame_begin(&out, ipc, sc_slice(words, (size_t)4 * (hops + 1)));
    memset(sc_buf_reserve(&out, body), 'b', body);
    out.size += body;
    sc_sp_frame_end(&out, ipc, begin);
    return out;
}

static enum sc_sp_frame_found find(const struct sc_buf *buf, size_t size, bool ipc,
                                   struct sc_slice *payload, size_t *total)
{
    /* Exactly as much memory as there are bytes, so that a sanitizer sees any step beyond. */
    uint8_t *copy = sc_alloc(size == 0 ? 1 : size);
    memcpy(copy, buf->data, size);
    enum sc_sp_frame_found found = sc_sp_frame_find(copy, size, ipc, MAX, payload, total);
    free(copy);
    return found;
}

START_TEST(a_frame_cut_at_every_byte_is_a_part)
{
    bool ipc = _i == 1;
    struct sc_buf buf = frame_of(ipc, 2, 50);
    struct sc_slice payload;
    size_t total;
    for (size_t size = 0; size < buf.size; size++) {
        ck_assert_int_eq(find(&buf, size, ipc, &payload, &total), SC_SP_FRAME_PART);
        ck_assert_uint_eq(total, size < sc_sp_frame_prefix(ipc) ? 0 : buf.size);
    }
    ck_assert_int_eq(sc_sp_frame_find(buf.data, buf.size, ipc, MAX, &payload, &total),
                     SC_SP_FRAME_WHOLE);
    ck_assert_uint_eq(total, buf.size);
    ck_assert_uint_eq(payload.size, 3 * 4 + 50);
    ck_assert_ptr_eq(payload.data, buf.data + sc_sp_frame_prefix(ipc));
    sc_buf_fini(&buf);
}
END_TEST

START_TEST(frames_follow_each_other)
{
    bool ipc = _i == 1;
    struct sc_buf all = {0};
    for (size_t body = 0; body < 20; body++) {
        struct sc_buf one = frame_of(ipc, 0, body);
        sc_buf_append_slice(&all, sc_buf_slice(&one));
        sc_buf_fini(&one);
    }
    size_t at = 0;
    for (size_t body = 0; body < 20; body++) {
        struct sc_slice payload;
        size_t total;
        ck_assert_int_eq(sc_sp_frame_find(all.data + at, all.size - at, ipc, MAX, &payload, &total),
                         SC_SP_FRAME_WHOLE);
        ck_assert_uint_eq(payload.size, 4 + body);
        at += total;
    }
    ck_assert_uint_eq(at, all.size);
    sc_buf_fini(&all);
}
END_TEST

START_TEST(a_length_over_the_limit_is_refused_as_soon_as_it_is_known)
{
    static const uint64_t lengths[] = {MAX + 1, UINT64_C(1) << 32, UINT64_C(0xffffffffffffffe0),
                                       UINT64_MAX, UINT64_C(1) << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (int ipc = 0; ipc < 2; ipc++) {
            uint8_t prefix[9] = {1};
            sc_be64_put(prefix + ipc, lengths[i]);
            struct sc_slice payload;
            size_t total;
            ck_assert_int_eq(
                sc_sp_frame_find(prefix, sc_sp_frame_prefix(ipc), ipc, MAX, &payload, &total),
                SC_SP_FRAME_BAD);
        }
    }
    struct sc_buf buf = frame_of(false, 0, MAX - 4);
    struct sc_slice payload;
    size_t total;
    ck_assert_int_eq(sc_sp_frame_find(buf.data, buf.size, false, MAX, &payload, &total),
                     SC_SP_FRAME_WHOLE);
    sc_buf_fini(&buf);
}
END_TEST

START_TEST(ipc_frames_begin_with_one)
{
    for (int first = 0; first < 256; first++) {
        uint8_t byte = (uint8_t)first;
        struct sc_slice payload;
        size_t total;
        ck_assert_int_eq(sc_sp_frame_find(&byte, 1, true, MAX, &payload, &total),
                         first == 1 ? SC_SP_FRAME_PART : SC_SP_FRAME_BAD);
    }
}
END_TEST

START_TEST(the_header_ends_with_the_word_that_has_the_top_bit)
{
    for (uint32_t hops = 0; hops < 20; hops++) {
        for (size_t body = 0; body < 9; body++) {
            struct sc_buf buf = frame_of(false, hops, body);
            uint32_t words = 0;
            enum sc_sp_frame_header header =
                sc_sp_frame_header(sc_slice(buf.data + 8, buf.size - 8), &words);
            if (hops <= SC_SP_HOPS_MAX) {
                ck_assert_int_eq(header, SC_SP_FRAME_HEADER_OK);
                ck_assert_uint_eq(words, hops + 1);
            } else {
                ck_assert_int_eq(header, SC_SP_FRAME_HEADER_DROP);
            }
            sc_buf_fini(&buf);
        }
    }
}
END_TEST

START_TEST(a_payload_that_ends_before_the_id_is_bad)
{
    struct sc_buf buf = frame_of(false, 3, 0);
    for (size_t size = 0; size < 16; size++) {
        uint32_t words;
        uint8_t *copy = sc_alloc(size == 0 ? 1 : size);
        memcpy(copy, buf.data + 8, size);
        ck_assert_int_eq(sc_sp_frame_header(sc_slice(copy, size), &words), SC_SP_FRAME_HEADER_BAD);
        free(copy);
    }
    sc_buf_fini(&buf);
}
END_TEST

START_TEST(a_handshake_is_eight_exact_bytes)
{
    uint8_t bytes[8];
    uint16_t protocol;
    sc_sp_frame_handshake_put(bytes, SC_SP_FRAME_REP);
    ck_assert_mem_eq(bytes, "\0SP\0\0\x31\0\0", 8);
    ck_assert(sc_sp_frame_handshake_get(bytes, &protocol));
    ck_assert_uint_eq(protocol, SC_SP_FRAME_REP);
    for (size_t i = 0; i < 8; i++) {
        bytes[i] ^= 0x40;
        bool known = sc_sp_frame_handshake_get(bytes, &protocol) && protocol == SC_SP_FRAME_REP;
        ck_assert(!known);
        bytes[i] ^= 0x40;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sp_frame");
    TCase *tcase = tcase_create("sp_frame");
    tcase_add_loop_test(tcase, a_frame_cut_at_every_byte_is_a_part, 0, 2);
    tcase_add_loop_test(tcase, frames_follow_each_other, 0, 2);
    tcase_add_test(tcase, a_length_over_the_limit_is_refused_as_soon_as_it_is_known);
    tcase_add_test(tcase, ipc_frames_begin_with_one);
    tcase_add_test(tcase, the_header_ends_with_the_word_that_has_the_top_bit);
    tcase_add_test(tcase, a_payload_that_ends_before_the_id_is_bad);
    tcase_add_test(tcase, a_handshake_is_eight_exact_bytes);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
