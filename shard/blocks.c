#include "shard/blocks.h"

#include "common/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK_SIZE \
    (64u << 10) /* of classes with blocks up to an eighth of it; doubles from there */

/* Empty chunks may take so many bytes, or so small a part of all memory, before they go back to the
 * system: tables that grow together leave chunks of one class as fast as they fill others. */
#define SPARE_MIN (UINT64_C(512) << 10)
#define SPARE_PART 64u

/* In front of every block: where its owner keeps the pointer to it. */
struct header {
    uint8_t **owner;
};

struct sc_blocks_chunk {
    struct sc_blocks_chunk *before;
    uint64_t pad; /* blocks begin at a multiple of 16 */
};

/* ---- Mappings ---- */

static void *map(struct sc_blocks *blocks, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "out of memory: cannot map %zu bytes\n", size);
        abort();
    }
    blocks->memory += size;
    return memory;
}

static void unmap(struct sc_blocks *blocks, void *memory, size_t size)
{
    int failed = munmap(memory, size);
    assert(!failed);
    blocks->memory -= size;
}

static struct sc_blocks_chunk *chunk_alloc(struct sc_blocks *blocks, uint32_t scale)
{
    struct sc_blocks_chunk *chunk = blocks->spare[scale];
    if (chunk == NULL) {
        return map(blocks, CHUNK_SIZE << scale);
    }
    blocks->spare[scale] = chunk->before;
    blocks->spare_size -= CHUNK_SIZE << scale;
    return chunk;
}

/* Unmaps spare chunks, the largest first, until at most `most` bytes of them are left. */
static void trim_spare(struct sc_blocks *blocks, uint64_t most)
{
    for (uint32_t scale = SC_BLOCKS_SCALES; scale-- > 0;) {
        while (blocks->spare_size > most && blocks->spare[scale] != NULL) {
            unmap(blocks, chunk_alloc(blocks, scale), CHUNK_SIZE << scale);
        }
    }
}

static void chunk_free(struct sc_blocks *blocks, struct sc_blocks_chunk *chunk, uint32_t scale)
{
    uint64_t most = blocks->memory / SPARE_PART;
    chunk->before = blocks->spare[scale];
    blocks->spare[scale] = chunk;
    blocks->spare_size += CHUNK_SIZE << scale;
    trim_spare(blocks, most < SPARE_MIN ? SPARE_MIN : most);
}

/* ---- Classes ---- */

void sc_blocks_init(struct sc_blocks *blocks)
{
    *blocks = (struct sc_blocks){0};
    for (uint32_t i = 0; i < SC_BLOCKS_CLASSES; i++) {
        struct sc_blocks_class *class = &blocks->classes[i];
        uint32_t doubling = i / 8;
        uint32_t blocks_about = (15 - i % 8) << (doubling < 5 ? 5 - doubling : 0);
        class->scale = doubling < 5 ? 0 : doubling - 5;
        uint32_t room = (CHUNK_SIZE << class->scale) - (uint32_t)sizeof(struct sc_blocks_chunk);
        class->size = room / blocks_about / 8 * 8;
        class->chunk_blocks = room / class->size;
    }
}

void sc_blocks_fini(struct sc_blocks *blocks)
{
    trim_spare(blocks, 0);
    assert(blocks->memory == 0);
}

/* The smallest class with blocks of at least `size` bytes, header included; SC_BLOCKS_CLASSES if
 * there is none. */
static uint32_t class_of(const struct sc_blocks *blocks, size_t size)
{
    uint32_t low = 0;
    uint32_t high = SC_BLOCKS_CLASSES;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (blocks->classes[middle].size < size) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static size_t page_round(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

size_t sc_blocks_fit(const struct sc_blocks *blocks, size_t size)
{
    size += sizeof(struct header);
    uint32_t class = class_of(blocks, size);
    size = class == SC_BLOCKS_CLASSES ? page_round(size) : blocks->classes[class].size;
    return size - sizeof(struct header);
}

static struct header *block_in_chunk(const struct sc_blocks_class *class, uint32_t index)
{
    return (struct header *)(void *)((uint8_t *)(class->last + 1) + (size_t)index * class->size);
}

void *sc_blocks_alloc(struct sc_blocks *blocks, size_t size, uint8_t **owner)
{
    struct header *header;
    size += sizeof *header;
    uint32_t index = class_of(blocks, size);
    if (index == SC_BLOCKS_CLASSES) {
        header = map(blocks, size);
    } else {
        struct sc_blocks_class *class = &blocks->classes[index];
        assert(class->size == size);
        if (class->last == NULL || class->last_used == class->chunk_blocks) {
            struct sc_blocks_chunk *chunk = chunk_alloc(blocks, class->scale);
            chunk->before = class->last;
            class->last = chunk;
            class->last_used = 0;
        }
        header = block_in_chunk(class, class->last_used++);
    }
    header->owner = owner;
    return header + 1;
}

void sc_blocks_free(struct sc_blocks *blocks, void *block, size_t size)
{
    struct header *header = (struct header *)block - 1;
    size += sizeof *header;
    uint32_t index = class_of(blocks, size);
    if (index == SC_BLOCKS_CLASSES) {
        unmap(blocks, header, size);
        return;
    }
    struct sc_blocks_class *class = &blocks->classes[index];
    struct header *last = block_in_chunk(class, --class->last_used);
    if (last != header) {
        memcpy(header, last, class->size);
        *header->owner = (uint8_t *)(header + 1);
    }
    if (class->last_used == 0) {
        struct sc_blocks_chunk *chunk = class->last;
        class->last = chunk->before;
        class->last_used = class->last != NULL ? class->chunk_blocks : 0;
        chunk_free(blocks, chunk, class->scale);
    }
}
