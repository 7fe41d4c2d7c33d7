#include "common/sp_input.h"
#include "tests/check_main.h"

/* Receives `size` bytes of a running count, as many at a time as there is room for. */
static void receive(struct sc_sp_input *input, size_t size, uint8_t *next)
{
    while (size > 0) {
        size_t room;
        uint8_t *to = sc_sp_input_room(input, &room);
        size_t part = room < size ? room : size;
        for (size_t i = 0; i < part; i++) {
            to[i] = (*next)++;
        }
        sc_sp_input_received(input, part);
        size -= part;
    }
}

static void take(struct sc_sp_input *input, size_t size, uint8_t *next)
{
    struct sc_slice bytes = sc_sp_input_bytes(input);
    ck_assert_uint_le(size, bytes.size);
    bool same = true;
    for (size_t i = 0; i < size; i++) {
        same &= ((const uint8_t *)bytes.data)[i] == (*next)++;
    }
    ck_assert(same);
    sc_sp_input_consume(input, size);
}

START_TEST(bytes_come_out_as_they_went_in)
{
    struct sc_sp_input input = {0};
    uint8_t in = 0, out = 0;
    unsigned seed = 7;
    for (int i = 0; i < 3000; i++) {
        receive(&input, (size_t)rand_r(&seed) % (i % 100 == 0 ? 300000 : 5000), &in);
        size_t waiting = sc_sp_input_bytes(&input).size;
        take(&input, i % 7 == 0 ? waiting : waiting - waiting / 5, &out);
        if (i % 50 == 0) {
            sc_sp_input_trim(&input);
        }
    }
    sc_sp_input_fini(&input);
}
END_TEST

START_TEST(a_buffer_at_rest_is_small_and_one_under_load_larger)
{
    struct sc_sp_input input = {0};
    uint8_t in = 0, out = 0;
    receive(&input, 100, &in);
    ck_assert_uint_eq(input.capacity, SC_SP_INPUT_SMALL);
    take(&input, 100, &out);
    receive(&input, 2 * SC_SP_INPUT_SMALL, &in);
    ck_assert_uint_eq(input.capacity, SC_SP_INPUT_STEP);
    take(&input, 2 * SC_SP_INPUT_SMALL, &out);
    for (uint32_t i = 0; i < 3 * SC_SP_INPUT_PATIENCE; i++) {
        receive(&input, 100, &in);
        take(&input, 100, &out);
    }
    ck_assert_uint_eq(input.capacity, SC_SP_INPUT_SMALL);
    sc_sp_input_fini(&input);
}
END_TEST

START_TEST(a_claim_takes_memory_only_as_its_bytes_arrive)
{
    struct sc_sp_input input = {0};
    uint8_t in = 0;
    size_t claim = (size_t)16 << 20;
    input.need = claim;
    for (size_t arrived = 0; arrived + 5000 <= claim; arrived += 5000) {
        receive(&input, 5000, &in);
        size_t fair = 2 * input.end > SC_SP_INPUT_STEP ? 2 * input.end : SC_SP_INPUT_STEP;
        ck_assert_uint_le(input.capacity, fair);
    }
    ck_assert_uint_le(input.capacity, claim); /* no more than the frame in the end */
    input.need = 0;
    sc_sp_input_consume(&input, input.end);
    size_t room;
    sc_sp_input_room(&input, &room);
    ck_assert_uint_eq(input.capacity, SC_SP_INPUT_STEP);
    sc_sp_input_fini(&input);
}
END_TEST

START_TEST(a_frame_in_progress_keeps_its_room)
{
    struct sc_sp_input input = {0};
    uint8_t in = 0;
    receive(&input, 200000, &in);
    sc_sp_input_consume(&input, 199000);
    input.need = 150000;
    for (uint32_t i = 0; i < 100; i++) {
        receive(&input, 1, &in);
    }
    ck_assert_uint_ge(input.capacity, 150000);
    sc_sp_input_fini(&input);
}
END_TEST

START_TEST(trimming_keeps_what_waits)
{
    struct sc_sp_input input = {0};
    uint8_t in = 0, out = 0;
    receive(&input, 100000, &in);
    take(&input, 90000, &out);
    ck_assert(sc_sp_input_trimmable(&input));
    sc_sp_input_trim(&input);
    ck_assert_uint_eq(input.capacity, 10000);
    ck_assert(!sc_sp_input_trimmable(&input));
    take(&input, 10000, &out);
    sc_sp_input_trim(&input);
    ck_assert_uint_eq(input.capacity, SC_SP_INPUT_SMALL);
    sc_sp_input_fini(&input);
    sc_sp_input_fini(&input);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sp_input");
    TCase *tcase = tcase_create("sp_input");
    tcase_add_test(tcase, bytes_come_out_as_they_went_in);
    tcase_add_test(tcase, a_buffer_at_rest_is_small_and_one_under_load_larger);
    tcase_add_test(tcase, a_claim_takes_memory_only_as_its_bytes_arrive);
    tcase_add_test(tcase, a_frame_in_progress_keeps_its_room);
    tcase_add_test(tcase, trimming_keeps_what_waits);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
