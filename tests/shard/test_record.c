#include "shard/record.h"

#include "tests/check_main.h"

static const struct sc_record record = {
    .version = UINT64_C(0x0102030405060708),
    .expires_ms = UINT64_C(0x1112131415161718),
    .kind = SC_RECORD_PUT,
    .key = {"key", 3},
    .value = {"value", 5},
};
#define SEED UINT64_C(0x1234567890abcdef)
#define SIZE 40

/* As docs/FORMAT.md has it: this never changes. */
START_TEST(bytes_are_those_of_the_document)
{
    static const uint8_t expected[SIZE] = {
        0,    0,    0,    0,    0,    0,    0,    0, /* checksums, see below */
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x18, 0x17, 0x16,
        0x15, 0x14, 0x13, 0x12, 0x11, 5,    0,    0,    0,    3,    0,
        1,    0,    'k',  'e',  'y',  'v',  'a',  'l',  'u',  'e',
    };
    uint8_t bytes[SIZE];
    ck_assert_uint_eq(sc_record_size(3, 5), SIZE);
    sc_record_encode(bytes, &record, SEED);
    ck_assert_mem_eq(bytes + 8, expected + 8, SIZE - 8);
    /* xxh3_64 of the value and, seeded, of bytes 4 to 34, by another implementation. */
    static const uint8_t checksums[8] = {0xe1, 0x79, 0x88, 0x13, 0xf0, 0xf0, 0x9d, 0x9b};
    ck_assert_mem_eq(bytes, checksums, 8);
}
END_TEST

static bool decode(const uint8_t *bytes, uint64_t seed, struct sc_record *decoded)
{
    struct sc_record_extent extent;
    return sc_record_extent(bytes, &extent) && SC_RECORD_HEADER_SIZE + extent.key_size <= SIZE &&
           sc_record_decode(bytes, &extent, seed, decoded);
}

START_TEST(record_is_read_as_it_was_written)
{
    uint8_t bytes[SIZE];
    struct sc_record decoded;
    sc_record_encode(bytes, &record, SEED);
    ck_assert(decode(bytes, SEED, &decoded));
    ck_assert_uint_eq(decoded.version, record.version);
    ck_assert_uint_eq(decoded.expires_ms, record.expires_ms);
    ck_assert_int_eq(decoded.kind, SC_RECORD_PUT);
    ck_assert(sc_slice_equal(decoded.key, record.key));
    ck_assert(sc_slice_equal(decoded.value, record.value));
    ck_assert(sc_record_value_ok(bytes, decoded.value));
}
END_TEST

START_TEST(lost_value_is_told_from_an_empty_one)
{
    uint8_t bytes[SIZE];
    struct sc_record decoded;
    struct sc_record empty = record;
    empty.value.size = 0;
    sc_record_encode(bytes, &empty, SEED);
    ck_assert(decode(bytes, SEED, &decoded));
    ck_assert(!decoded.lost);
    ck_assert(sc_record_value_ok(bytes, decoded.value));
    struct sc_record lost = record;
    sc_record_lose(&lost);
    sc_record_encode(bytes, &lost, SEED);
    ck_assert(decode(bytes, SEED, &decoded));
    ck_assert(decoded.lost);
    ck_assert_uint_eq(decoded.version, record.version);
    ck_assert_uint_eq(decoded.expires_ms, record.expires_ms);
    ck_assert(!sc_record_value_ok(bytes, decoded.value));
    /* The inverted low half of xxh3_64 of nothing, 2d06800538d394c2, by another implementation. */
    static const uint8_t checksum[4] = {0x3d, 0x6b, 0x2c, 0xc7};
    ck_assert_mem_eq(bytes + 4, checksum, 4);
}
END_TEST

START_TEST(any_flipped_bit_is_noticed)
{
    uint8_t bytes[SIZE];
    struct sc_record decoded;
    for (int bit = 0; bit < SIZE * 8; bit++) {
        sc_record_encode(bytes, &record, SEED);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool header = decode(bytes, SEED, &decoded);
        ck_assert_msg(header == (bit >= 35 * 8), "bit %d", bit);
        ck_assert(!header || !sc_record_value_ok(bytes, decoded.value));
    }
}
END_TEST

START_TEST(record_in_another_place_is_none)
{
    uint8_t bytes[SIZE];
    struct sc_record decoded;
    sc_record_encode(bytes, &record, SEED ^ 64);
    ck_assert(decode(bytes, SEED ^ 64, &decoded));
    ck_assert(!decode(bytes, SEED ^ 72, &decoded));
    ck_assert(!decode(bytes, ~SEED ^ 64, &decoded));
}
END_TEST

START_TEST(padding_is_zero_and_sizes_are_multiples_of_eight)
{
    for (size_t key_size = 1; key_size < 20; key_size++) {
        for (size_t value_size = 0; value_size < 20; value_size++) {
            uint8_t bytes[80];
            const struct sc_record small = {
                .kind = SC_RECORD_PUT,
                .key = {"kkkkkkkkkkkkkkkkkkkk", key_size},
                .value = {"vvvvvvvvvvvvvvvvvvvv", value_size},
            };
            size_t used = 32 + key_size + value_size;
            size_t size = (size_t)sc_record_size(key_size, value_size);
            ck_assert(size % 8 == 0 && size >= used && size < used + 8);
            memset(bytes, 0xff, sizeof bytes);
            sc_record_encode(bytes, &small, SEED);
            for (size_t i = used; i < size; i++) {
                ck_assert_uint_eq(bytes[i], 0);
            }
            ck_assert_uint_eq(bytes[size], 0xff);
        }
    }
}
END_TEST

START_TEST(clear_tells_its_range)
{
    uint8_t key[SC_RECORD_CLEAR_KEY_SIZE];
    uint8_t bytes[SIZE];
    struct sc_record decoded;
    uint32_t first;
    uint32_t last;
    sc_record_clear_key(key, 5, 16383);
    const struct sc_record clear = {.version = 1, .kind = SC_RECORD_CLEAR, .key = {key, 4}};
    sc_record_encode(bytes, &clear, SEED);
    ck_assert(decode(bytes, SEED, &decoded));
    sc_record_clear_range(&decoded, &first, &last);
    ck_assert_uint_eq(first, 5);
    ck_assert_uint_eq(last, 16383);
    /* A range that cannot be, though its checksum is right. */
    key[1] = 0xff;
    sc_record_encode(bytes, &clear, SEED);
    ck_assert(!decode(bytes, SEED, &decoded));
}
END_TEST

START_TEST(tombstones_and_clears_have_no_value_and_no_expiry)
{
    uint8_t bytes[SIZE];
    struct sc_record decoded;
    struct sc_record odd = record;
    odd.kind = SC_RECORD_TOMBSTONE;
    sc_record_encode(bytes, &odd, SEED);
    ck_assert(!decode(bytes, SEED, &decoded));
    odd.value.size = 0;
    sc_record_encode(bytes, &odd, SEED);
    ck_assert(!decode(bytes, SEED, &decoded));
    odd.expires_ms = 0;
    sc_record_encode(bytes, &odd, SEED);
    ck_assert(decode(bytes, SEED, &decoded));
    odd.kind = SC_RECORD_CLEAR;
    sc_record_encode(bytes, &odd, SEED);
    ck_assert(!decode(bytes, SEED, &decoded));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *tcase = tcase_create("record");
    tcase_add_test(tcase, bytes_are_those_of_the_document);
    tcase_add_test(tcase, record_is_read_as_it_was_written);
    tcase_add_test(tcase, any_flipped_bit_is_noticed);
    tcase_add_test(tcase, lost_value_is_told_from_an_empty_one);
    tcase_add_test(tcase, record_in_another_place_is_none);
    tcase_add_test(tcase, padding_is_zero_and_sizes_are_multiples_of_eight);
    tcase_add_test(tcase, clear_tells_its_range);
    tcase_add_test(tcase, tombstones_and_clears_have_no_value_and_no_expiry);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
