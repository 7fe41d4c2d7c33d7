/*
 * Blocks: memory without holes for thousands of tables that grow and shrink a little at a time.
 *
 * Sizes come in classes, eight to a doubling. The blocks of one class lie packed in chunks of equal
 * size, one behind the other; when one is freed, the last block of the class moves into its place
 * and the pointer that its owner keeps is changed. So all that is ever lost is the unused rest of
 * one chunk for each class in use, whatever the history: a general allocator loses 10 to 20% to
 * the holes that tables leave behind when they grow. Chunks that become empty go back to the
 * system, but for a few. Blocks larger than the largest class are mappings of their own.
 *
 * Single-threaded. All zero is not valid: use init.
 */
#ifndef SC_SHARD_BLOCKS_H
#define SC_SHARD_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#define SC_BLOCKS_SCALES 6u
#define SC_BLOCKS_CLASSES 88u

struct sc_blocks_chunk;

struct sc_blocks_class {
    uint32_t size; /* of a block, its header included */
    uint32_t chunk_blocks; /* blocks in a chunk */
    uint32_t scale; /* of its chunks: their size doubles with each */
    uint32_t last_used; /* blocks in use of the last chunk; not 0 if there is a chunk */
    struct sc_blocks_chunk *last; /* the others are full, each points to the one before it */
};

struct sc_blocks {
    struct sc_blocks_class classes[SC_BLOCKS_CLASSES];
    struct sc_blocks_chunk *spare[SC_BLOCKS_SCALES]; /* empty chunks, kept for the next use */
    uint64_t spare_size; /* their bytes */
    uint64_t memory; /* bytes mapped; readable */
};

void sc_blocks_init(struct sc_blocks *blocks);

/* All blocks must have been freed. */
void sc_blocks_fini(struct sc_blocks *blocks);

/* The size of the block that a request for `size` bytes gets: at least that, and to be used in
 * full. */
size_t sc_blocks_fit(const struct sc_blocks *blocks, size_t size);

/* A block of `size` bytes, a size that sc_blocks_fit gave; aligned to 8 bytes, contents undefined.
 * Moves no other block. `owner` is where the caller is going to keep the pointer to it, at the
 * latest when a block is next freed; it is changed whenever the block moves. */
void *sc_blocks_alloc(struct sc_blocks *blocks, size_t size, uint8_t **owner);

/* Frees a block; another of the same size may move. */
void sc_blocks_free(struct sc_blocks *blocks, void *block, size_t size);

#endif
