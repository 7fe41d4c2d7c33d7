#include "client/clustermap.h"

#include <stdio.h>

#include "tests/check_main.h"

struct range {
    uint32_t first, last, id;
};

/* What the maps below are made of. */
struct sketch {
    const struct range *ranges;
    uint32_t range_count;
    uint32_t shards; /* ids 1, 2, ... */
    uint64_t slots;
    const char *url;
    size_t cluster_size;
};

static const struct range halves[] = {{0, 8191, 1}, {8192, 16383, 2}};
static const struct sketch good = {halves, 2, 2, SC_SLOT_COUNT, "tcp://host:1", 32};

static void put_map(const struct sketch *sketch, struct sc_buf *out)
{
    sc_mp_put_map(out, 6);
    sc_mp_put_cstr(out, "of a later version");
    sc_mp_put_array(out, 0);
    sc_mp_put_cstr(out, "ranges");
    sc_mp_put_array(out, sketch->range_count);
    for (uint32_t i = 0; i < sketch->range_count; i++) {
        sc_mp_put_array(out, 3);
        sc_mp_put_uint(out, sketch->ranges[i].first);
        sc_mp_put_uint(out, sketch->ranges[i].last);
        sc_mp_put_uint(out, sketch->ranges[i].id);
    }
    sc_mp_put_cstr(out, "epoch");
    sc_mp_put_uint(out, 7);
    sc_mp_put_cstr(out, "cluster");
    sc_mp_put_str(out, sc_slice("0123456789abcdef0123456789abcdef", sketch->cluster_size));
    sc_mp_put_cstr(out, "slots");
    sc_mp_put_uint(out, sketch->slots);
    sc_mp_put_cstr(out, "shards");
    sc_mp_put_array(out, sketch->shards);
    for (uint32_t i = 0; i < sketch->shards; i++) {
        sc_mp_put_map(out, 3);
        sc_mp_put_cstr(out, "id");
        sc_mp_put_uint(out, 1 + i);
        sc_mp_put_cstr(out, "state");
        sc_mp_put_cstr(out, "down");
        sc_mp_put_cstr(out, "url");
        sc_mp_put_cstr(out, sketch->url);
    }
}

static struct sc_clustermap map;

static bool reads(const struct sketch *sketch)
{
    struct sc_buf out = {0};
    put_map(sketch, &out);
    bool read = sc_clustermap_read(sc_mp(sc_buf_slice(&out)), &map);
    sc_buf_fini(&out);
    return read;
}

START_TEST(a_map_is_taken_apart)
{
    ck_assert(reads(&good));
    ck_assert_uint_eq(map.epoch, 7);
    ck_assert_str_eq(map.cluster, "0123456789abcdef0123456789abcdef");
    ck_assert_uint_eq(map.shard_count, 2);
    ck_assert_uint_eq(map.shards[1].id, 2);
    ck_assert_str_eq(map.shards[1].url, "tcp://host:1");
    ck_assert_uint_eq(map.owner[0], 0);
    ck_assert_uint_eq(map.owner[8191], 0);
    ck_assert_uint_eq(map.owner[8192], 1);
    ck_assert_uint_eq(map.owner[16383], 1);
    sc_clustermap_fini(&map);
}
END_TEST

START_TEST(what_is_not_known_or_too_long_is_left_out)
{
    struct sketch sketch = good;
    char url[SC_URL_MAX + 10];
    memset(url, 'x', sizeof url);
    url[sizeof url - 1] = '\0';
    sketch.url = url;
    sketch.cluster_size = 31;
    ck_assert(reads(&sketch));
    ck_assert_str_eq(map.shards[0].url, "");
    ck_assert_str_eq(map.cluster, "");
    sc_clustermap_fini(&map);
}
END_TEST

static void check_refused(const struct range *ranges, uint32_t count)
{
    struct sketch sketch = good;
    sketch.ranges = ranges;
    sketch.range_count = count;
    ck_assert(!reads(&sketch));
    ck_assert_ptr_null(map.shards);
}

START_TEST(a_map_that_is_not_whole_is_refused)
{
    static const struct range gap[] = {{0, 8190, 1}, {8192, 16383, 2}};
    static const struct range short_[] = {{0, 16382, 1}};
    static const struct range twice[] = {{0, 8192, 1}, {8192, 16383, 2}};
    static const struct range beyond[] = {{0, 16384, 1}};
    static const struct range backwards[] = {{0, 16383, 1}, {5, 4, 1}};
    static const struct range nobody[] = {{0, 16383, 3}};
    struct sketch sketch = good;
    check_refused(gap, 2);
    check_refused(short_, 1);
    check_refused(twice, 2);
    check_refused(beyond, 1);
    check_refused(backwards, 2);
    check_refused(nobody, 1);
    check_refused(NULL, 0);
    sketch.slots = 16385;
    ck_assert(!reads(&sketch));
    sketch = good;
    sketch.shards = 0;
    ck_assert(!reads(&sketch));
}
END_TEST

START_TEST(a_map_cut_off_anywhere_is_refused)
{
    struct sc_buf out = {0};
    put_map(&good, &out);
    for (size_t size = 0; size < out.size; size++) {
        ck_assert_msg(!sc_clustermap_read(sc_mp(sc_slice(out.data, size)), &map), "%zu", size);
    }
    sc_buf_fini(&out);
}
END_TEST

START_TEST(a_map_with_any_bit_changed_harms_nothing)
{
    struct sc_buf out = {0};
    put_map(&good, &out);
    for (size_t at = 0; at < out.size; at++) {
        for (unsigned change = 1; change < 256; change = 2 * change) {
            out.data[at] = (uint8_t)(out.data[at] ^ change);
            if (sc_clustermap_read(sc_mp(sc_buf_slice(&out)), &map)) {
                sc_clustermap_fini(&map);
            }
            out.data[at] = (uint8_t)(out.data[at] ^ change);
        }
    }
    sc_buf_fini(&out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clustermap");
    TCase *tcase = tcase_create("clustermap");
    tcase_add_test(tcase, a_map_is_taken_apart);
    tcase_add_test(tcase, what_is_not_known_or_too_long_is_left_out);
    tcase_add_test(tcase, a_map_that_is_not_whole_is_refused);
    tcase_add_test(tcase, a_map_cut_off_anywhere_is_refused);
    tcase_add_test(tcase, a_map_with_any_bit_changed_harms_nothing);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
