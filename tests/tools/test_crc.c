#include "tests/check_main.h"
#include "tools/crc.h"

#include <string.h>

static const char digits[] = "123456789"; /* what every CRC's value is published for */

START_TEST(crc_32_has_the_published_value)
{
    struct sc_crc crc;
    sc_crc_init(&crc, SC_CRC_32);
    ck_assert_uint_eq(sc_crc_32(&crc, digits, 9), 0xcbf43926);
    ck_assert_uint_eq(sc_crc_32(&crc, "", 0), 0);
}
END_TEST

START_TEST(crc_64_has_the_published_value)
{
    struct sc_crc crc;
    sc_crc_init(&crc, SC_CRC_64_JONES);
    ck_assert(sc_crc_update(&crc, 0, digits, 9) == UINT64_C(0xe9c6d914c4b8d9ca));
}
END_TEST

START_TEST(parts_give_what_the_whole_gives)
{
    struct sc_crc crc;
    uint8_t bytes[100];
    sc_crc_init(&crc, SC_CRC_64_JONES);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37);
    }
    uint64_t whole = sc_crc_update(&crc, 5, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint64_t part = sc_crc_update(&crc, 5, bytes, cut);
        ck_assert(sc_crc_update(&crc, part, bytes + cut, sizeof bytes - cut) == whole);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crc");
    TCase *tcase = tcase_create("crc");
    tcase_add_test(tcase, crc_32_has_the_published_value);
    tcase_add_test(tcase, crc_64_has_the_published_value);
    tcase_add_test(tcase, parts_give_what_the_whole_gives);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
