#include "client/json.h"
#include "common/base64.h"
#include "common/limits.h"
#include "common/mp.h"
#include "tests/check_main.h"
#include "tests/random.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>

static enum sc_status read_text(const char *text, struct sc_buf *out, char *why)
{
    return sc_json_read(sc_slice_str(text), out, why);
}

/* Both ways: `json` becomes exactly `bytes`, which become exactly `json`. */
static void check_pair(const char *json, const void *bytes, size_t size)
{
    struct sc_buf mp = {0};
    struct sc_buf text = {0};
    char why[SC_WHY_SIZE] = "";
    ck_assert_msg(read_text(json, &mp, why) == SC_OK, "%s: %s", json, why);
    ck_assert_msg(sc_slice_equal(sc_buf_slice(&mp), sc_slice(bytes, size)), "%s", json);
    ck_assert_int_eq(sc_json_write(sc_slice(bytes, size), &text, why), SC_OK);
    sc_buf_append(&text, "", 1);
    ck_assert_str_eq((char *)text.data, json);
    sc_buf_fini(&mp);
    sc_buf_fini(&text);
}

#define CHECK_PAIR(json, bytes) check_pair(json, bytes, sizeof(bytes) - 1)

/* `json`, read and written again, is `canonical`. */
static void check_canonical(const char *json, const char *canonical)
{
    struct sc_buf mp = {0};
    struct sc_buf text = {0};
    char why[SC_WHY_SIZE] = "";
    ck_assert_msg(read_text(json, &mp, why) == SC_OK, "%s: %s", json, why);
    ck_assert_int_eq(sc_json_write(sc_buf_slice(&mp), &text, why), SC_OK);
    sc_buf_append(&text, "", 1);
    ck_assert_str_eq((char *)text.data, canonical);
    sc_buf_fini(&mp);
    sc_buf_fini(&text);
}

static void check_refused(struct sc_slice text)
{
    struct sc_buf out = {0};
    char why[SC_WHY_SIZE] = "";
    sc_buf_append(&out, "kept", 4);
    ck_assert_msg(sc_json_read(text, &out, why) == SC_BADREQUEST, "accepted: %.*s", (int)text.size,
                  (const char *)text.data);
    ck_assert_msg(strlen(why) > 10, "no sentence for %.*s", (int)text.size,
                  (const char *)text.data);
    ck_assert(sc_slice_equal(sc_buf_slice(&out), sc_slice_str("kept")));
    sc_buf_fini(&out);
}

START_TEST(scalars_keep_their_type)
{
    CHECK_PAIR("null", "\xc0");
    CHECK_PAIR("true", "\xc3");
    CHECK_PAIR("false", "\xc2");
    CHECK_PAIR("0", "\x00");
    CHECK_PAIR("1.0", "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00");
    CHECK_PAIR("\"\"", "\xa0");
    CHECK_PAIR("\"a\"", "\xa1"
                        "a");
    CHECK_PAIR("[]", "\x90");
    CHECK_PAIR("{}", "\x80");
    CHECK_PAIR("[1,[2,{\"a\":null}]]", "\x92\x01\x92\x02\x81\xa1"
                                       "a\xc0");
}
END_TEST

START_TEST(integers_are_exact_to_64_bits)
{
    CHECK_PAIR("-1", "\xff");
    CHECK_PAIR("-9223372036854775808", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
    CHECK_PAIR("9223372036854775807", "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff");
    CHECK_PAIR("9223372036854775808", "\xcf\x80\x00\x00\x00\x00\x00\x00\x00");
    CHECK_PAIR("18446744073709551615", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    check_canonical("-0", "0");
    check_refused(sc_slice_str("18446744073709551616"));
    check_refused(sc_slice_str("-9223372036854775809"));
    check_refused(sc_slice_str("99999999999999999999999999999999999999"));
}
END_TEST

START_TEST(floats_are_shortest_and_stay_floats)
{
    static const char *const texts[] = {
        "1.0",
        "-0.0",
        "0.1",
        "0.30000000000000004",
        "5e-324",
        "1e+22",
        "1e-07",
        "1e+300",
        "1.7976931348623157e+308",
        "2.2250738585072014e-308",
        "123.456",
        "1e+15",
        "9007199254740993.0",
    };
    for (size_t i = 0; i + 1 < sizeof texts / sizeof *texts; i++) {
        check_canonical(texts[i], texts[i]);
    }
    check_canonical("9007199254740993.0", "9007199254740992.0");
    check_canonical("1E2", "100.0");
    check_canonical("-1e-999", "-0.0");
    check_refused(sc_slice_str("1e400"));
    check_refused(sc_slice_str("-1e400"));
}
END_TEST

START_TEST(float32_keeps_its_value)
{
    struct sc_buf text = {0};
    ck_assert_int_eq(sc_json_write(sc_slice("\xca\x3d\xcc\xcc\xcd", 5), &text, NULL), SC_OK);
    sc_buf_append(&text, "", 1);
    ck_assert_str_eq((char *)text.data, "0.10000000149011612");
    sc_buf_fini(&text);
}
END_TEST

START_TEST(floats_do_not_depend_on_the_locale)
{
    /* A locale with a decimal comma, if the machine has one; passes for nothing without. */
    (void)(setlocale(LC_ALL, "de_DE.UTF-8") != NULL || setlocale(LC_ALL, "fr_FR.UTF-8") != NULL);
    check_canonical("1.5", "1.5");
    (void)setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(strings_take_every_escape)
{
    check_canonical("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    check_canonical("\"a\\u0000b\"", "\"a\\u0000b\"");
    check_canonical("\"\\u00e9\\u20AC\\ud83d\\ude00\"", "\"é€😀\"");
    check_canonical("\"\\u009b\x7f\"", "\"\\u009b\\u007f\"");
    check_canonical("\"\\ud7ff\\ue000\\uffff\\udbff\\udfff\"", "\"\xed\x9f\xbf\xee\x80\x80\xef\xbf"
                                                               "\xbf\xf4\x8f\xbf\xbf\"");
}
END_TEST

START_TEST(what_json_cannot_say_goes_through_escapes)
{
    CHECK_PAIR("{\"$bin\":\"AP8=\"}", "\xc4\x02\x00\xff");
    CHECK_PAIR("{\"$bin\":\"\"}", "\xc4\x00");
    CHECK_PAIR("{\"$ext\":[-1,\"AAECAw==\"]}", "\xd6\xff\x00\x01\x02\x03");
    CHECK_PAIR("{\"$ext\":[127,\"\"]}", "\xc7\x00\x7f");
    CHECK_PAIR("{\"$str\":\"/w==\"}", "\xa1\xff");
    CHECK_PAIR("{\"$float\":\"inf\"}", "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00");
    CHECK_PAIR("{\"$float\":\"-inf\"}", "\xcb\xff\xf0\x00\x00\x00\x00\x00\x00");
    CHECK_PAIR("{\"$float\":\"nan\"}", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00");
    CHECK_PAIR("{\"$map\":[[1,2],[null,\"a\"]]}", "\x82\x01\x02\xc0\xa1"
                                                  "a");
    CHECK_PAIR("{\"$map\":[[{\"$bin\":\"AA==\"},[]]]}", "\x81\xc4\x01\x00\x90");
    CHECK_PAIR("{\"$map\":[[{\"$str\":\"/w==\"},{\"$map\":[[[],{}]]}]]}",
               "\x81\xa1\xff\x81\x90\x80");
}
END_TEST

START_TEST(data_that_looks_like_an_escape_survives)
{
    CHECK_PAIR("{\"$map\":[[\"$bin\",\"x\"]]}", "\x81\xa4$bin\xa1x");
    CHECK_PAIR("{\"$map\":[[\"$map\",{\"$map\":[[\"$map\",[]]]}]]}",
               "\x81\xa4$map\x81\xa4$map\x90");
    CHECK_PAIR("{\"$bin\":1,\"x\":2}", "\x82\xa4$bin\x01\xa1x\x02");
    CHECK_PAIR("{\"$bin\":\"AA==\",\"$bin\":\"AA==\"}", "\x82\xa4$bin\xa4"
                                                        "AA==\xa4$bin\xa4"
                                                        "AA==");
    CHECK_PAIR("{\"$binary\":1}", "\x81\xa7$binary\x01");
    CHECK_PAIR("{\"$\":1}", "\x81\xa1$\x01");
}
END_TEST

START_TEST(malformed_escapes_are_refused)
{
    static const char *const texts[] = {
        "{\"$bin\":1}",
        "{\"$bin\":\"A\"}",
        "{\"$bin\":\"AP9=\"}",
        "{\"$bin\":\"AA=A\"}",
        "{\"$bin\":\"A A=\"}",
        "{\"$bin\":\"====\"}",
        "{\"$bin\":\"AA==AA==\"}",
        "{\"$str\":null}",
        "{\"$ext\":[128,\"\"]}",
        "{\"$ext\":[-129,\"\"]}",
        "{\"$ext\":[1]}",
        "{\"$ext\":[1,\"\",2]}",
        "{\"$ext\":[1.0,\"\"]}",
        "{\"$float\":\"NaN\"}",
        "{\"$float\":1.0}",
        "{\"$map\":{}}",
        "{\"$map\":[[1]]}",
        "{\"$map\":[[1,2,3]]}",
        "{\"$map\":[1]}",
        "{\"$map\":\"\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        check_refused(sc_slice_str(texts[i]));
    }
}
END_TEST

START_TEST(what_json_forbids_is_refused)
{
    static const char *const texts[] = {
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-",
        "-a",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "1 2",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{}}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "'a'",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800a\"",
        "\"\\ud800\\n\"",
        "\"\\ud800\\ud800\"",
        "\"\\udc00\"",
        "\"\n\"",
        "\"\t\"",
        "// a\n1",
        "/* */1",
        "\xef\xbb\xbf"
        "1",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe0\x80\x80\"",
        "\"\xf0\x80\x80\x80\"",
        "\"\xf8\x88\x80\x80\x80\"",
        "\"\xe2\x82\"",
        "\"\xc3\\u00a9\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        check_refused(sc_slice_str(texts[i]));
    }
    check_refused(sc_slice("1\0", 2));
    check_refused(sc_slice("\"\0\"", 3));
    check_refused(sc_slice(NULL, 0));
}
END_TEST

START_TEST(a_text_cut_anywhere_is_refused)
{
    static const char text[] =
        "{\"a\\u00e9\\ud83d\\ude00\":[1.5e3,true,false,null,\"\\n\"],\"$map\":"
        "[[1,2]],\"b\":{\"$bin\":\"AAAA\"}}";
    for (size_t size = 0; size < sizeof text - 1; size++) {
        char *exact = malloc(size + 1); /* so that ASan sees a read beyond the end */
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, text, size);
        check_refused(sc_slice(exact, size));
        free(exact);
    }
}
END_TEST

START_TEST(the_sentence_names_the_place)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_buf out = {0};
    ck_assert_int_eq(read_text("{\"a\":1,\n \"b\" 2}", &out, why), SC_BADREQUEST);
    ck_assert_str_eq(why, "not JSON: a colon is expected, at line 2, byte 6");
    sc_buf_fini(&out);
}
END_TEST

START_TEST(long_containers_and_strings_get_their_heads)
{
    static const uint32_t counts[] = {15, 16, 255, 256, 65535, 65536};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct sc_buf array = {0};
        struct sc_buf map = {0};
        struct sc_buf expected_array = {0};
        struct sc_buf expected_map = {0};
        sc_mp_put_array(&expected_array, counts[i]);
        sc_mp_put_map(&expected_map, counts[i]);
        for (uint32_t n = 0; n < counts[i]; n++) {
            sc_buf_append(&array, n == 0 ? "[7" : ",7", 2);
            sc_buf_append(&map, n == 0 ? "{\"k\":7" : ",\"k\":7", 6);
            sc_mp_put_uint(&expected_array, 7);
            sc_mp_put_cstr(&expected_map, "k");
            sc_mp_put_uint(&expected_map, 7);
        }
        sc_buf_append(&array, "]", 1);
        sc_buf_append(&map, "}", 1);
        struct sc_buf out = {0};
        ck_assert_int_eq(sc_json_read(sc_buf_slice(&array), &out, NULL), SC_OK);
        ck_assert(sc_slice_equal(sc_buf_slice(&out), sc_buf_slice(&expected_array)));
        out.size = 0;
        ck_assert_int_eq(sc_json_read(sc_buf_slice(&map), &out, NULL), SC_OK);
        ck_assert(sc_slice_equal(sc_buf_slice(&out), sc_buf_slice(&expected_map)));
        sc_buf_fini(&out);
        sc_buf_fini(&array);
        sc_buf_fini(&map);
        sc_buf_fini(&expected_array);
        sc_buf_fini(&expected_map);
    }
}
END_TEST

static void repeat(struct sc_buf *out, const char *text, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        sc_buf_append(out, text, strlen(text));
    }
}

static enum sc_status read_nested(const char *open, const char *inside, const char *close,
                                  unsigned depth)
{
    struct sc_buf text = {0};
    struct sc_buf out = {0};
    repeat(&text, open, depth);
    repeat(&text, inside, 1);
    repeat(&text, close, depth);
    enum sc_status status = sc_json_read(sc_buf_slice(&text), &out, NULL);
    if (status == SC_OK) {
        text.size = 0;
        ck_assert(sc_mp_valid(sc_buf_slice(&out)));
        ck_assert_int_eq(sc_json_write(sc_buf_slice(&out), &text, NULL), SC_OK);
    }
    sc_buf_fini(&text);
    sc_buf_fini(&out);
    return status;
}

START_TEST(nesting_ends_at_the_limit)
{
    ck_assert_int_eq(read_nested("[", "", "]", SC_NESTING_MAX), SC_OK);
    ck_assert_int_eq(read_nested("[", "", "]", SC_NESTING_MAX + 1), SC_BADREQUEST);
    ck_assert_int_eq(read_nested("{\"a\":", "1", "}", SC_NESTING_MAX), SC_OK);
    ck_assert_int_eq(read_nested("{\"a\":", "1", "}", SC_NESTING_MAX + 1), SC_BADREQUEST);
    ck_assert_int_eq(read_nested("{\"$map\":[[1,", "1", "]]}", SC_NESTING_MAX), SC_OK);
    ck_assert_int_eq(read_nested("{\"$map\":[[1,", "1", "]]}", SC_NESTING_MAX + 1), SC_BADREQUEST);
    ck_assert_int_eq(read_nested("[", "", "", 1000000), SC_BADREQUEST);
    ck_assert_int_eq(read_nested("{\"a\":", "", "", 1000000), SC_BADREQUEST);
}
END_TEST

START_TEST(msgpack_that_is_not_well_formed_is_refused)
{
    static const struct {
        const char *bytes;
        size_t size;
    } values[] = {{"", 0},
                  {"\xc1", 1},
                  {"\x01\x02", 2},
                  {"\x91", 1},
                  {"\x81\x01", 2},
                  {"\xa2"
                   "a",
                   2},
                  {"\xcb\x00", 2},
                  {"\xdd\xff\xff\xff\xff", 5},
                  {"\x81\xa1"
                   "a",
                   3}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct sc_buf out = {0};
        sc_buf_append(&out, "kept", 4);
        ck_assert_int_eq(sc_json_write(sc_slice(values[i].bytes, values[i].size), &out, NULL),
                         SC_BADREQUEST);
        ck_assert(sc_slice_equal(sc_buf_slice(&out), sc_slice_str("kept")));
        sc_buf_fini(&out);
    }
    uint8_t deep[SC_NESTING_MAX + 2];
    memset(deep, 0x91, sizeof deep);
    deep[SC_NESTING_MAX + 1] = 0x01;
    struct sc_buf out = {0};
    ck_assert_int_eq(sc_json_write(sc_slice(deep, sizeof deep), &out, NULL), SC_BADREQUEST);
    ck_assert_int_eq(sc_json_write(sc_slice(deep + 1, sizeof deep - 1), &out, NULL), SC_OK);
    sc_buf_fini(&out);
}
END_TEST

START_TEST(keys_are_strings_or_bin)
{
    struct sc_buf out = {0};
    sc_json_write_key(sc_slice_str("a\"b"), &out);
    sc_json_write_key(sc_slice("\xff", 1), &out);
    sc_buf_append(&out, "", 1);
    ck_assert_str_eq((char *)out.data, "\"a\\\"b\"{\"$bin\":\"/w==\"}");
    sc_buf_fini(&out);
}
END_TEST

/* ---- Random values ---- */

static struct test_random source;

static uint64_t random_next(void)
{
    return test_random_next(&source);
}

static uint64_t random_below(uint64_t limit)
{
    return test_random_below(&source, limit);
}

static void random_bytes(struct sc_buf *out, bool text)
{
    static const char *const pieces[] = {"a", "\"",   "\\",   "\n",      "é",
                                         "😀", "$bin", "\x01", "\xc2\x9b"};
    size_t size = random_below(60) == 0 ? random_below(70000) : random_below(40);
    out->size = 0;
    while (out->size < size) {
        if (text) {
            repeat(out, pieces[random_below(sizeof pieces / sizeof *pieces)], 1);
        } else {
            uint8_t byte = (uint8_t)random_next();
            sc_buf_append(out, &byte, 1);
        }
    }
}

static double random_double(void)
{
    uint64_t bits = random_next();
    double value;
    memcpy(&value, &bits, sizeof value);
    switch (random_below(4)) {
    case 0:
        return (double)(int64_t)(bits >> random_below(64));
    case 1:
        return (double)(bits >> 40) / 1000.0;
    case 2:
        return ldexp(1.0, (int)random_below(2098) - 1074);
    default:
        return isnan(value) ? (double)INFINITY : value;
    }
}

static void random_scalar(struct sc_buf *out)
{
    struct sc_buf bytes = {0};
    uint64_t bits = random_next() >> random_below(64);
    switch (random_below(8)) {
    case 0:
        sc_mp_put_nil(out);
        break;
    case 1:
        sc_mp_put_bool(out, random_below(2) == 0);
        break;
    case 2:
        sc_mp_put_uint(out, bits);
        break;
    case 3:
        sc_mp_put_int(out, (int64_t)(0 - bits));
        break;
    case 4:
        sc_mp_put_float(out, random_double());
        break;
    case 5:
        random_bytes(&bytes, random_below(4) > 0);
        sc_mp_put_str(out, sc_buf_slice(&bytes));
        break;
    case 6:
        random_bytes(&bytes, false);
        sc_mp_put_bin(out, sc_buf_slice(&bytes));
        break;
    default:
        random_bytes(&bytes, false);
        sc_mp_put_ext(out, (int8_t)random_next(), sc_buf_slice(&bytes));
        break;
    }
    sc_buf_fini(&bytes);
}

static void random_value(struct sc_buf *out, unsigned depth);

static void random_key(struct sc_buf *out, unsigned depth)
{
    static const char *const names[] = {"$bin", "$ext", "$float", "$str", "$map", "a", "b", ""};
    if (random_below(8) == 0) {
        random_value(out, depth);
    } else {
        sc_mp_put_cstr(out, names[random_below(sizeof names / sizeof *names)]);
    }
}

static void random_value(struct sc_buf *out, unsigned depth)
{
    uint64_t kind = random_below(4);
    if (depth == 0 || kind < 2) {
        random_scalar(out);
        return;
    }
    uint32_t count = (uint32_t)(random_below(10) == 0 ? random_below(40) : random_below(4));
    if (kind == 2) {
        sc_mp_put_array(out, count);
    } else {
        sc_mp_put_map(out, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kind == 3) {
            random_key(out, depth - 1);
        }
        random_value(out, depth - 1);
    }
}

START_TEST(random_values_survive_the_round_trip)
{
    source = test_random_start("json");
    struct sc_buf value = {0};
    struct sc_buf text = {0};
    struct sc_buf back = {0};
    for (int i = 0; i < 1500; i++) {
        value.size = text.size = back.size = 0;
        random_value(&value, 5);
        char why[SC_WHY_SIZE] = "";
        ck_assert_int_eq(sc_json_write(sc_buf_slice(&value), &text, why), SC_OK);
        ck_assert_msg(sc_json_read(sc_buf_slice(&text), &back, why) == SC_OK, "%s", why);
        ck_assert(sc_slice_equal(sc_buf_slice(&value), sc_buf_slice(&back)));
    }
    sc_buf_fini(&value);
    sc_buf_fini(&text);
    sc_buf_fini(&back);
}
END_TEST

START_TEST(mutated_texts_are_read_or_refused_and_never_harm)
{
    static const char text[] =
        "{\"a\\u00e9\":[1.5e3,-12,true,null,\"\\n\",{\"$map\":[[1,2],[{},[]]]}],"
        "\"b\":{\"$bin\":\"AAAA\"},\"c\":{\"$ext\":[5,\"AA==\"]}}";
    source = test_random_start("json");
    struct sc_buf out = {0};
    struct sc_buf again = {0};
    for (int i = 0; i < 50000; i++) {
        char copy[sizeof text];
        memcpy(copy, text, sizeof text);
        for (uint64_t n = 1 + random_below(3); n > 0; n--) {
            copy[random_below(sizeof text - 1)] = text[random_below(sizeof text - 1)];
        }
        out.size = again.size = 0;
        if (sc_json_read(sc_slice(copy, sizeof copy - 1), &out, NULL) == SC_OK) {
            ck_assert(sc_mp_valid(sc_buf_slice(&out)));
            ck_assert_int_eq(sc_json_write(sc_buf_slice(&out), &again, NULL), SC_OK);
        } else {
            ck_assert_uint_eq(out.size, 0);
        }
    }
    sc_buf_fini(&out);
    sc_buf_fini(&again);
}
END_TEST

/* Reads as Python's: true, with what was read equal to `bytes`. */
static bool python_gives(const char *text, const void *bytes, size_t size)
{
    struct sc_buf out = {0};
    enum sc_json_fault fault;
    bool same = sc_json_read_python(sc_slice_str(text), &out, &fault, NULL) == SC_OK &&
                sc_slice_equal(sc_buf_slice(&out), sc_slice(bytes, size));
    sc_buf_fini(&out);
    return same;
}

#define PYTHON_GIVES(text, bytes) ck_assert(python_gives(text, bytes, sizeof(bytes) - 1))

START_TEST(python_has_floats_without_a_number_and_no_escapes)
{
    PYTHON_GIVES("NaN", "\xcb\x7f\xf8\0\0\0\0\0\0");
    PYTHON_GIVES("[Infinity, -Infinity]", "\x92\xcb\x7f\xf0\0\0\0\0\0\0\xcb\xff\xf0\0\0\0\0\0\0");
    PYTHON_GIVES("-1", "\xff");
    PYTHON_GIVES("{\"$bin\": \"eA==\"}", "\x81\xa4$bin\xa4"
                                         "eA==");
    PYTHON_GIVES("{\"$map\": 1}", "\x81\xa4$map\x01");
    const char *const refused[] = {"NaN", "Infinity", "-Infinity", "{\"$map\": 1}"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        check_refused(sc_slice_str(refused[i]));
    }
}
END_TEST

START_TEST(python_says_what_kind_of_fault_it_is)
{
    static const struct {
        const char *text;
        enum sc_json_fault fault;
    } cases[] = {
        {"[1, 18446744073709551616]", SC_JSON_INTEGER},
        {"-9223372036854775809", SC_JSON_INTEGER},
        {"\"\\ud83d alone\"", SC_JSON_SURROGATE},
        {"\"\\ude00 alone\"", SC_JSON_SURROGATE},
        {"\"\\ud83d\\u0041\"", SC_JSON_SURROGATE},
        {"Nan", SC_JSON_SYNTAX},
        {"-Inf", SC_JSON_SYNTAX},
        {"[1,]", SC_JSON_SYNTAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sc_buf out = {0};
        char why[SC_WHY_SIZE] = "";
        enum sc_json_fault fault;
        ck_assert_int_eq(sc_json_read_python(sc_slice_str(cases[i].text), &out, &fault, why),
                         SC_BADREQUEST);
        ck_assert_msg(fault == cases[i].fault, "%s: %s", cases[i].text, why);
        ck_assert_uint_gt(strlen(why), 10);
        sc_buf_fini(&out);
    }
    char deep[2 * (SC_NESTING_MAX + 1)];
    memset(deep, '[', sizeof deep / 2);
    memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
    struct sc_buf out = {0};
    enum sc_json_fault fault;
    ck_assert_int_eq(sc_json_read_python(sc_slice(deep, sizeof deep), &out, &fault, NULL),
                     SC_BADREQUEST);
    ck_assert_int_eq(fault, SC_JSON_NESTING);
    sc_buf_fini(&out);
}
END_TEST

START_TEST(base64_follows_the_rfc)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct sc_buf out = {0};
        sc_base64_encode(&out, sc_slice_str(vectors[i][0]));
        ck_assert(sc_slice_equal(sc_buf_slice(&out), sc_slice_str(vectors[i][1])));
        out.size = 0;
        ck_assert(sc_base64_decode(&out, sc_slice_str(vectors[i][1])));
        ck_assert(sc_slice_equal(sc_buf_slice(&out), sc_slice_str(vectors[i][0])));
        sc_buf_fini(&out);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *tcase = tcase_create("json");
    tcase_add_test(tcase, scalars_keep_their_type);
    tcase_add_test(tcase, integers_are_exact_to_64_bits);
    tcase_add_test(tcase, floats_are_shortest_and_stay_floats);
    tcase_add_test(tcase, float32_keeps_its_value);
    tcase_add_test(tcase, floats_do_not_depend_on_the_locale);
    tcase_add_test(tcase, strings_take_every_escape);
    tcase_add_test(tcase, what_json_cannot_say_goes_through_escapes);
    tcase_add_test(tcase, data_that_looks_like_an_escape_survives);
    tcase_add_test(tcase, malformed_escapes_are_refused);
    tcase_add_test(tcase, what_json_forbids_is_refused);
    tcase_add_test(tcase, a_text_cut_anywhere_is_refused);
    tcase_add_test(tcase, the_sentence_names_the_place);
    tcase_add_test(tcase, long_containers_and_strings_get_their_heads);
    tcase_add_test(tcase, nesting_ends_at_the_limit);
    tcase_add_test(tcase, msgpack_that_is_not_well_formed_is_refused);
    tcase_add_test(tcase, keys_are_strings_or_bin);
    tcase_add_test(tcase, random_values_survive_the_round_trip);
    tcase_add_test(tcase, mutated_texts_are_read_or_refused_and_never_harm);
    tcase_add_test(tcase, python_has_floats_without_a_number_and_no_escapes);
    tcase_add_test(tcase, python_says_what_kind_of_fault_it_is);
    tcase_add_test(tcase, base64_follows_the_rfc);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
