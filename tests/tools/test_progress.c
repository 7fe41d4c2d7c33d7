#include "tools/progress.h"

#include <stdlib.h>
#include <string.h>

#include "tests/check_main.h"

START_TEST(numbers_have_separators)
{
    static const struct {
        uint64_t number;
        const char *text;
    } cases[] = {
        {0, "0"},          {999, "999"},           {1000, "1,000"},
        {63666, "63,666"}, {1234567, "1,234,567"}, {UINT64_MAX, "18,446,744,073,709,551,615"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        ck_assert_str_eq(sc_progress_number(cases[i].number, text), cases[i].text);
    }
}
END_TEST

static char *draw(bool enabled, uint64_t done, uint64_t total)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct sc_progress progress;
    sc_progress_init(&progress, out, enabled, "import", "records");
    sc_progress_update(&progress, done, total, 1234);
    sc_progress_update(&progress, done, total, 1235); /* too soon after the first */
    sc_progress_clear(&progress);
    fclose(out);
    return text;
}

START_TEST(a_bar_shows_how_far_and_goes_away)
{
    char *text = draw(true, 50, 100);
    ck_assert_ptr_nonnull(strstr(text, " 50%"));
    ck_assert_ptr_nonnull(strstr(text, "1,234 records"));
    ck_assert_ptr_null(strstr(text, "1,235"));
    ck_assert_str_eq(text + strlen(text) - 4, "\r\033[K");
    free(text);
}
END_TEST

START_TEST(an_unknown_total_has_no_bar)
{
    char *text = draw(true, 50, 0);
    ck_assert_ptr_null(strstr(text, "%"));
    ck_assert_ptr_nonnull(strstr(text, "1,234 records"));
    free(text);
}
END_TEST

START_TEST(on_a_pipe_it_is_silent)
{
    char *text = draw(false, 50, 100);
    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("progress");
    TCase *tcase = tcase_create("progress");
    tcase_add_test(tcase, numbers_have_separators);
    tcase_add_test(tcase, a_bar_shows_how_far_and_goes_away);
    tcase_add_test(tcase, an_unknown_total_has_no_bar);
    tcase_add_test(tcase, on_a_pipe_it_is_silent);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
