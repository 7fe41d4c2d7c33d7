#include "common/slot.h"
#include "tests/check_main.h"

/* Vectors from docs/PROTOCOL.md: other clients compute the same. */
START_TEST(known_keys_fall_into_known_slots)
{
    static const struct {
        const char *key;
        uint64_t hash;
        uint32_t slot;
    } vectors[] = {
        {"a", UINT64_C(0xe6c632b61e964e1f), 14769},
        {"foo", UINT64_C(0xab6e5f64077e7d8a), 10971},
        {"hello", UINT64_C(0x9555e8555c62dcfd), 9557},
        {"user:1000", UINT64_C(0xfb6841b2068c0c9f), 16090},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct sc_slice key = sc_slice_str(vectors[i].key);
        ck_assert_uint_eq(sc_slot_hash(key), vectors[i].hash);
        ck_assert_uint_eq(sc_slot_of_key(key), vectors[i].slot);
    }
}
END_TEST

START_TEST(binary_keys_are_hashed_byte_for_byte)
{
    static uint8_t all[256], longest[65535];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (uint8_t)i;
    }
    memset(longest, 'k', sizeof longest);
    const struct {
        struct sc_slice key;
        uint32_t slot;
    } vectors[] = {
        {{"\0", 1}, 12562},
        {{"\0\0", 2}, 3273},
        {{"\xff\xfe\x00\x01", 4}, 9670},
        {{"\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87", 8}, 9860},
        {{all, sizeof all}, 9474},
        {{longest, sizeof longest}, 11964},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        ck_assert_uint_eq(sc_slot_of_key(vectors[i].key), vectors[i].slot);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slot");
    TCase *tcase = tcase_create("slot");
    tcase_add_test(tcase, known_keys_fall_into_known_slots);
    tcase_add_test(tcase, binary_keys_are_hashed_byte_for_byte);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
