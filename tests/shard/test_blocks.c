#include "shard/blocks.h"

#include "common/buf.h"
#include "tests/check_main.h"
#include "tests/shard/keydir_keys.h"

enum { OWNERS = 2000 };

struct owner {
    uint8_t *block; /* first: what the block is told */
    size_t size;
    uint8_t mark;
};

static void fill(struct sc_blocks *blocks, struct owner *owner, size_t size, uint8_t mark)
{
    owner->size = sc_blocks_fit(blocks, size);
    bool fits = owner->size >= size && sc_blocks_fit(blocks, owner->size) == owner->size;
    owner->block = sc_blocks_alloc(blocks, owner->size, &owner->block);
    if (!fits || (uintptr_t)owner->block % 8 != 0) {
        ck_abort_msg("a block of %zu bytes for %zu", owner->size, size);
    }
    memset(owner->block, mark, owner->size);
    owner->mark = mark;
}

static void empty(struct sc_blocks *blocks, struct owner *owner)
{
    size_t kept = 0;
    while (kept < owner->size && owner->block[kept] == owner->mark) {
        kept++;
    }
    if (kept < owner->size) {
        ck_abort_msg("byte %zu of %zu has changed", kept, owner->size);
    }
    uint8_t *block = owner->block;
    owner->block = NULL;
    sc_blocks_free(blocks, block, owner->size);
}

START_TEST(blocks_keep_their_bytes_when_they_move)
{
    struct owner *owners = sc_calloc(OWNERS, sizeof *owners);
    struct sc_blocks blocks;
    uint64_t seed = (uint64_t)_i;
    sc_blocks_init(&blocks);
    for (unsigned i = 0; i < 40000; i++) {
        struct owner *owner = &owners[test_below(&seed, OWNERS)];
        if (owner->block != NULL) {
            empty(&blocks, owner);
        } else {
            uint64_t large = test_below(&seed, 1000);
            uint64_t bound = large == 0 ? 1u << 20 : large < 50 ? 1u << 15 : 2000;
            fill(&blocks, owner, test_below(&seed, bound), (uint8_t)i);
        }
    }
    for (size_t i = 0; i < OWNERS; i++) {
        if (owners[i].block != NULL) {
            empty(&blocks, &owners[i]);
        }
    }
    sc_blocks_fini(&blocks);
    ck_assert_uint_eq(blocks.memory, 0);
    free(owners);
}
END_TEST

START_TEST(no_size_wastes_more_than_an_eighth)
{
    struct sc_blocks blocks;
    sc_blocks_init(&blocks);
    for (size_t size = 120; size < (1u << 20); size += 1 + size / 100) {
        ck_assert_uint_le(sc_blocks_fit(&blocks, size), size + size / 8 + 24);
    }
    sc_blocks_fini(&blocks);
}
END_TEST

START_TEST(growing_together_leaves_no_holes)
{
    struct owner *owners = sc_calloc(OWNERS, sizeof *owners);
    struct sc_blocks blocks;
    uint64_t bytes = 0;
    sc_blocks_init(&blocks);
    for (size_t size = 200; size < 6000; size += size / 10) {
        bytes = 0;
        for (size_t i = 0; i < OWNERS; i++) {
            struct owner old = owners[i * 7919 % OWNERS];
            struct owner *owner = &owners[i * 7919 % OWNERS];
            fill(&blocks, owner, size, 1);
            bytes += owner->size;
            if (old.block != NULL) {
                sc_blocks_free(&blocks, old.block, old.size);
            }
        }
    }
    ck_assert_uint_le(blocks.memory, bytes + bytes / 20 + (1u << 20));
    for (size_t i = 0; i < OWNERS; i++) {
        empty(&blocks, &owners[i]);
    }
    sc_blocks_fini(&blocks);
    free(owners);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("blocks");
    TCase *tcase = tcase_create("blocks");
    tcase_add_loop_test(tcase, blocks_keep_their_bytes_when_they_move, 0, 3);
    tcase_add_test(tcase, no_size_wastes_more_than_an_eighth);
    tcase_add_test(tcase, growing_together_leaves_no_holes);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
