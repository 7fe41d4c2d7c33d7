/* The main function of a unit test: runs one suite and exits with 1 when anything failed. Check's
 * own CK_FORK, CK_RUN_CASE and CK_VERBOSITY work as documented there. */
#ifndef SC_TESTS_CHECK_MAIN_H
#define SC_TESTS_CHECK_MAIN_H

#include <check.h>
#include <stdlib.h>

static inline int sc_check_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
