#include "common/buf.h"
#include "tests/check_main.h"

static struct sc_buf buf;

static void setup(void)
{
    buf = (struct sc_buf){0};
}

static void teardown(void)
{
    sc_buf_fini(&buf);
}

static void fill(size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        sc_buf_append(&buf, &byte, 1);
    }
}

START_TEST(a_zeroed_buffer_is_empty_and_can_be_freed)
{
    ck_assert_uint_eq(sc_buf_slice(&buf).size, 0);
    sc_buf_fini(&buf);
    sc_buf_fini(&buf);
    sc_buf_append(&buf, NULL, 0);
    sc_buf_append_slice(&buf, (struct sc_slice){NULL, 0});
    ck_assert_uint_eq(buf.capacity, 0);
}
END_TEST

START_TEST(growing_keeps_what_is_there)
{
    fill(10000);
    ck_assert_uint_eq(buf.size, 10000);
    for (size_t i = 0; i < buf.size; i++) {
        ck_assert_uint_eq(buf.data[i], (uint8_t)(i * 7));
    }
}
END_TEST

START_TEST(room_reserved_is_there_and_leaves_the_size)
{
    sc_buf_append(&buf, "abc", 3);
    uint8_t *room = sc_buf_reserve(&buf, 5000);
    ck_assert_ptr_eq(room, buf.data + 3);
    ck_assert_uint_eq(buf.size, 3);
    ck_assert_uint_ge(buf.capacity, 5003);
    memset(room, 'x', 5000);
    buf.size += 5000;
    size_t capacity = buf.capacity;
    (void)sc_buf_reserve(&buf, capacity - buf.size);
    ck_assert_uint_eq(buf.capacity, capacity); /* it fits exactly: nothing to do */
    ck_assert(memcmp(buf.data, "abcx", 4) == 0);
}
END_TEST

START_TEST(memory_is_kept_up_to_what_is_asked_for)
{
    fill(1000);
    const uint8_t *data = buf.data;
    sc_buf_reset(&buf, buf.capacity);
    ck_assert_uint_eq(buf.size, 0);
    ck_assert_ptr_eq(buf.data, data);
    sc_buf_reset(&buf, buf.capacity - 1);
    ck_assert_uint_eq(buf.capacity, 0);
    ck_assert_ptr_null(buf.data);
}
END_TEST

START_TEST(consuming_moves_the_rest_to_the_front)
{
    sc_buf_append(&buf, "abcdef", 6);
    sc_buf_consume(&buf, 0);
    ck_assert_uint_eq(buf.size, 6);
    sc_buf_consume(&buf, 2);
    ck_assert(sc_slice_equal(sc_buf_slice(&buf), sc_slice_str("cdef")));
    sc_buf_consume(&buf, 4);
    ck_assert_uint_eq(buf.size, 0);
}
END_TEST

START_TEST(slices_are_equal_by_their_bytes)
{
    ck_assert(sc_slice_equal(sc_slice("a\0b", 3), sc_slice("a\0b", 3)));
    ck_assert(!sc_slice_equal(sc_slice("a\0b", 3), sc_slice("a\0c", 3)));
    ck_assert(!sc_slice_equal(sc_slice_str("a"), sc_slice_str("ab")));
    ck_assert(sc_slice_equal(sc_slice(NULL, 0), sc_slice_str("")));
}
END_TEST

START_TEST(memory_can_be_had_cleared_and_enlarged)
{
    uint8_t *memory = sc_calloc(100, 10);
    for (size_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(memory[i], 0);
    }
    memory[999] = 1;
    memory = sc_realloc(memory, 2000);
    ck_assert_uint_eq(memory[999], 1);
    free(memory);
    free(sc_alloc(1));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_zeroed_buffer_is_empty_and_can_be_freed);
    tcase_add_test(tcase, growing_keeps_what_is_there);
    tcase_add_test(tcase, room_reserved_is_there_and_leaves_the_size);
    tcase_add_test(tcase, memory_is_kept_up_to_what_is_asked_for);
    tcase_add_test(tcase, consuming_moves_the_rest_to_the_front);
    tcase_add_test(tcase, slices_are_equal_by_their_bytes);
    tcase_add_test(tcase, memory_can_be_had_cleared_and_enlarged);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
