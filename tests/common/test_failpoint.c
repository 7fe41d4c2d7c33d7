#include "common/failpoint.h"
#include "tests/check_main.h"

#include <signal.h>
#include <stdlib.h>

static void arm(const char *text)
{
    ck_assert_int_eq(setenv("SHARDCASK_FAILPOINT", text, 1), 0);
    sc_failpoint_init();
}

START_TEST(without_the_environment_nothing_happens)
{
    unsetenv("SHARDCASK_FAILPOINT");
    sc_failpoint_init();
    sc_failpoint("a");
    ck_assert_int_eq(sc_failpoint_action("a"), SC_FAILPOINT_NONE);
}
END_TEST

START_TEST(a_point_fires_once_at_its_count)
{
    arm("a:3:drop");
    ck_assert_int_eq(sc_failpoint_action("a"), SC_FAILPOINT_NONE);
    ck_assert_int_eq(sc_failpoint_action("b"), SC_FAILPOINT_NONE);
    ck_assert_int_eq(sc_failpoint_action("a"), SC_FAILPOINT_NONE);
    ck_assert_int_eq(sc_failpoint_action("a"), SC_FAILPOINT_DROP);
    ck_assert_int_eq(sc_failpoint_action("a"), SC_FAILPOINT_NONE);
}
END_TEST

START_TEST(several_points_are_told_apart)
{
    arm("a:1:late,b:1:fail,a:2:repeat");
    ck_assert_int_eq(sc_failpoint_action("b"), SC_FAILPOINT_FAIL);
    ck_assert_int_eq(sc_failpoint_action("a"), SC_FAILPOINT_LATE);
    ck_assert_int_eq(sc_failpoint_action("a"), SC_FAILPOINT_REPEAT);
    ck_assert_int_eq(sc_failpoint_action("a"), SC_FAILPOINT_NONE);
}
END_TEST

START_TEST(a_name_alone_kills)
{
    arm("a");
    sc_failpoint("b");
    sc_failpoint("a");
    exit(EXIT_FAILURE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("failpoint");
    TCase *tcase = tcase_create("failpoint");
    tcase_add_test(tcase, without_the_environment_nothing_happens);
    tcase_add_test(tcase, a_point_fires_once_at_its_count);
    tcase_add_test(tcase, several_points_are_told_apart);
    tcase_add_test_raise_signal(tcase, a_name_alone_kills, SIGKILL);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
