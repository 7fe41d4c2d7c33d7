#include "coordinator/run.h"
#include "tests/check_main.h"

#include <stdio.h>

/* Requests are named by their index; it stands in the target and, as text, in the bytes. */
static void push(struct sc_run *run, uint32_t index)
{
    struct sc_target target = {.index = index};
    char text[16];
    int size = snprintf(text, sizeof text, "<%u>", index);
    sc_buf_append(sc_run_push_begin(run, &target), text, (size_t)size);
    sc_run_push_end(run);
}

static void check(const struct sc_run *run, const char *expected)
{
    struct sc_slice bytes = sc_run_bytes(run);
    ck_assert(sc_slice_equal(bytes, sc_slice_str(expected)));
    size_t at = 0;
    for (size_t i = 0; i < sc_run_count(run); i++) {
        const struct sc_run_item *item = sc_run_item(run, i);
        unsigned index = 0;
        ck_assert_int_eq(sscanf(expected + at, "<%u>", &index), 1);
        ck_assert_uint_eq(item->target.index, index);
        at += item->size;
    }
    ck_assert_uint_eq(at, bytes.size);
}

static bool is_odd(const void *arg, const struct sc_target *target)
{
    (void)arg;
    return target->index % 2 == 1;
}

static bool is_large(const void *arg, const struct sc_target *target)
{
    (void)arg;
    return target->index > 100;
}

START_TEST(sifting_keeps_the_order_of_all)
{
    struct sc_run run = {0};
    struct sc_run odd = {0};
    push(&odd, 7);
    for (uint32_t i = 0; i < 9; i++) {
        push(&run, i);
    }
    sc_run_pop(&run); /* what was taken away in front is not in the way */
    ck_assert_uint_eq(sc_run_sift(&run, is_odd, NULL, &odd), 4);
    check(&run, "<2><4><6><8>");
    check(&odd, "<7><1><3><5><7>");
    push(&run, 11);
    check(&run, "<2><4><6><8><11>");
    ck_assert_uint_eq(sc_run_sift(&odd, is_odd, NULL, &run), 5);
    check(&odd, "");
    check(&run, "<2><4><6><8><11><7><1><3><5><7>");
    sc_run_fini(&run);
    sc_run_fini(&odd);
}
END_TEST

START_TEST(sifting_may_find_nothing)
{
    struct sc_run run = {0};
    struct sc_run large = {0};
    ck_assert_uint_eq(sc_run_sift(&run, is_large, NULL, &large), 0);
    push(&run, 1);
    ck_assert_uint_eq(sc_run_sift(&run, is_large, NULL, &large), 0);
    check(&run, "<1>");
    check(&large, "");
    sc_run_fini(&run);
    sc_run_fini(&large);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("run");
    TCase *tcase = tcase_create("run");
    tcase_add_test(tcase, sifting_keeps_the_order_of_all);
    tcase_add_test(tcase, sifting_may_find_nothing);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
