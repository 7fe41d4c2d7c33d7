#include "shard/mapping.h"

#include "common/buf.h"
#include "shard/bus.h"
#include "shard/io.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORD 64u /* pages in a word of bits */
#define LOOK_WORDS 16u /* looked at in one go */
#define LINE 64u /* of a processor's cache */

/* constant after the first mapping was made */
static unsigned page_shift;

static size_t page_size(void)
{
    return (size_t)1 << page_shift;
}

static void init_once(void)
{
    page_shift = (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
    sc_bus_init();
}

/* ---- Mapping ---- */

void sc_mapping_map(struct sc_mapping *mapping, int fd, uint64_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_once);
    sc_mapping_unmap(mapping);
    if (mapping->broken) {
        return;
    }
    size = (size + page_size() - 1) & ~(uint64_t)(page_size() - 1);
    void *base = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        mapping->broken = true;
        return;
    }
    (void)madvise(base, (size_t)size, MADV_RANDOM); /* advice only */
    mapping->base = base;
    mapping->size = size;
    uint64_t words = ((size >> page_shift) + WORD - 1) / WORD;
    mapping->warm = sc_calloc((size_t)words, sizeof *mapping->warm);
}

void sc_mapping_unmap(struct sc_mapping *mapping)
{
    if (mapping->base != NULL) {
        (void)munmap(mapping->base, (size_t)mapping->size);
        free(mapping->warm);
    }
    *mapping = (struct sc_mapping){.broken = mapping->broken};
}

/* ---- Which pages are in memory ---- */

static bool is_warm(const struct sc_mapping *mapping, uint64_t page)
{
    return (mapping->warm[page / WORD] >> (page % WORD) & 1) != 0;
}

/* The pages of a word that are in the page cache, as bits. */
static uint64_t ask_kernel(const struct sc_mapping *mapping, uint64_t word)
{
    unsigned char resident[WORD] = {0};
    uint64_t first = word * WORD;
    uint64_t count = (mapping->size >> page_shift) - first;
    count = count < WORD ? count : WORD;
    if (mincore(mapping->base + (first << page_shift), (size_t)(count << page_shift), resident) !=
        0) {
        return 0;
    }
    uint64_t bits = 0;
    for (unsigned i = 0; i < WORD; i++) {
        bits |= (uint64_t)(resident[i] & 1) << i;
    }
    return bits;
}

void sc_mapping_note(struct sc_mapping *mapping, uint64_t offset, size_t size)
{
    if (size == 0 || offset + size > mapping->size) {
        return;
    }
    uint64_t last = (offset + size - 1) >> page_shift;
    for (uint64_t page = offset >> page_shift; page <= last; page++) {
        uint64_t *word = &mapping->warm[page / WORD];
        if (*word == 0) {
            *word = ask_kernel(mapping, page / WORD); /* its neighbours are likely to be wanted */
        }
        *word |= UINT64_C(1) << (page % WORD);
    }
    mapping->found++;
}

bool sc_mapping_look(struct sc_mapping *mapping, uint64_t *known, uint64_t *gone)
{
    /* Without a mapping the size of a page may not be known either. */
    uint64_t words = mapping->size == 0 ? 0 : ((mapping->size >> page_shift) + WORD - 1) / WORD;
    for (unsigned i = 0; i < LOOK_WORDS && mapping->looked < words; i++) {
        uint64_t *word = &mapping->warm[mapping->looked];
        if (*word != 0) {
            uint64_t still = *word & ask_kernel(mapping, mapping->looked);
            *known += (unsigned)__builtin_popcountll(*word);
            *gone += (unsigned)__builtin_popcountll(*word & ~still);
            mapping->found += (unsigned)__builtin_popcountll(still);
            *word = still;
        }
        mapping->looked++;
    }
    if (mapping->looked < words) {
        return true;
    }
    if (mapping->found == 0) {
        sc_mapping_unmap(mapping); /* takes no time: there is nothing in it */
    }
    mapping->looked = 0;
    mapping->found = 0;
    return false;
}

/* ---- Reading ---- */

bool sc_mapping_read(struct sc_mapping *mapping, uint64_t offset, void *to, size_t size)
{
    if (size == 0 || offset + size > mapping->size || sc_io_may_fail(SC_IO_READ)) {
        return false;
    }
    uint64_t last = (offset + size - 1) >> page_shift;
    for (uint64_t page = offset >> page_shift; page <= last; page++) {
        if (!is_warm(mapping, page)) {
            return false;
        }
    }
    if (!sc_bus_read(to, mapping->base + offset, size)) {
        mapping->broken = true;
        sc_mapping_unmap(mapping);
        return false;
    }
    return true;
}

void sc_mapping_prefetch(const struct sc_mapping *mapping, uint64_t offset, size_t size)
{
    if (size == 0 || offset + size > mapping->size || !is_warm(mapping, offset >> page_shift)) {
        return;
    }
    for (size_t at = 0; at < size && at < 4 * (size_t)LINE; at += LINE) {
        __builtin_prefetch(mapping->base + offset + at);
    }
}
