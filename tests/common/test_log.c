#include "common/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/check_main.h"

/* Standard error goes to an unnamed file during a test. */
static int saved = -1;
static FILE *captured;
static char text[200000];

static void setup(void)
{
    captured = tmpfile();
    ck_assert_ptr_nonnull(captured);
    /* Each write goes to the end, whoever makes it. */
    ck_assert_int_eq(fcntl(fileno(captured), F_SETFL, O_RDWR | O_APPEND), 0);
    saved = dup(STDERR_FILENO);
    ck_assert_int_ge(saved, 0);
    ck_assert_int_ge(dup2(fileno(captured), STDERR_FILENO), 0);
    sc_log_init("test-1", SC_LOG_INFO);
}

static void teardown(void)
{
    if (saved >= 0) {
        (void)dup2(saved, STDERR_FILENO);
        (void)close(saved);
        saved = -1;
    }
    if (captured != NULL) {
        (void)fclose(captured);
        captured = NULL;
    }
}

/* What was logged since the test began. */
static const char *logged(void)
{
    ssize_t size = pread(fileno(captured), text, sizeof text - 1, 0);
    ck_assert_int_ge(size, 0);
    text[size] = '\0';
    return text;
}

START_TEST(a_line_has_time_level_name_and_text)
{
    sc_log_info("listening on %s port=%d", "tcp", 7);
    const char *line = logged();
    /* 2026-01-31T12:34:56.789Z info  test-1: ... */
    ck_assert_uint_gt(strlen(line), 25);
    ck_assert(line[4] == '-' && line[7] == '-' && line[10] == 'T' && line[13] == ':');
    ck_assert(line[19] == '.' && line[23] == 'Z');
    ck_assert_str_eq(line + 24, " info  test-1: listening on tcp port=7\n");
}
END_TEST

START_TEST(what_is_less_urgent_than_the_level_is_not_written)
{
    sc_log_debug("no");
    ck_assert_str_eq(logged(), "");
    sc_log_init("test-1", SC_LOG_ERROR);
    sc_log_warn("no");
    sc_log_info("no");
    ck_assert_str_eq(logged(), "");
    sc_log_error("yes");
    ck_assert_ptr_nonnull(strstr(logged(), " error test-1: yes\n"));
    sc_log_init("test-1", SC_LOG_DEBUG);
    sc_log_debug("too");
    ck_assert_ptr_nonnull(strstr(logged(), " debug test-1: too\n"));
}
END_TEST

START_TEST(a_long_line_is_cut_and_still_a_line)
{
    sc_log_info("%05000d", 1);
    size_t size = strlen(logged());
    ck_assert_uint_le(size, 1024);
    ck_assert_uint_ge(size, 1000);
    ck_assert_int_eq(text[size - 1], '\n');
    sc_log_info("next");
    ck_assert_ptr_nonnull(strstr(logged() + size, ": next\n"));
}
END_TEST

START_TEST(text_from_outside_cannot_forge_a_line)
{
    sc_log_info("bad address \"%s\"", "a\n2026 error x: \x1b[31mfake\r\x7f");
    ck_assert_ptr_nonnull(strstr(logged(), ": bad address \"a?2026 error x: ?[31mfake??\"\n"));
    sc_log_info("UTF-8 stays: %s", "\xc3\xa4");
    ck_assert_ptr_nonnull(strstr(logged(), "UTF-8 stays: \xc3\xa4\n"));
}
END_TEST

START_TEST(levels_have_names)
{
    ck_assert_int_eq(sc_log_level_parse("error"), SC_LOG_ERROR);
    ck_assert_int_eq(sc_log_level_parse("warn"), SC_LOG_WARN);
    ck_assert_int_eq(sc_log_level_parse("info"), SC_LOG_INFO);
    ck_assert_int_eq(sc_log_level_parse("debug"), SC_LOG_DEBUG);
    ck_assert_int_eq(sc_log_level_parse("INFO"), -1);
    ck_assert_int_eq(sc_log_level_parse(""), -1);
}
END_TEST

#define THREADS 4
#define LINES 200

static void *log_lines(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        sc_log_info("thread %d line %d end", *(const int *)arg, i);
    }
    return NULL;
}

START_TEST(lines_of_threads_do_not_mix)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_lines, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    int next[THREADS] = {0};
    int lines = 0;
    (void)logged();
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int thread, number, end = 0;
        const char *at = strstr(line, "thread ");
        ck_assert_ptr_nonnull(at);
        ck_assert_int_eq(sscanf(at, "thread %d line %d end%n", &thread, &number, &end), 2);
        ck_assert_int_eq(at[end], '\0');
        ck_assert(end > 0 && thread >= 0 && thread < THREADS);
        ck_assert_int_eq(number, next[thread]++);
        lines++;
    }
    ck_assert_int_eq(lines, THREADS * LINES);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_line_has_time_level_name_and_text);
    tcase_add_test(tcase, what_is_less_urgent_than_the_level_is_not_written);
    tcase_add_test(tcase, a_long_line_is_cut_and_still_a_line);
    tcase_add_test(tcase, text_from_outside_cannot_forge_a_line);
    tcase_add_test(tcase, levels_have_names);
    tcase_add_test(tcase, lines_of_threads_do_not_mix);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
