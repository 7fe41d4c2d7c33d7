/*
 * Mapping: a data file seen as memory, so that bytes in the page cache are read without a system
 * call, which costs ten times what the bytes do.
 *
 * Touching a page that is not in the page cache would put the thread to sleep until the disk has
 * brought it. So there is a bit for each page: set when a read of it by system call went well, or
 * the kernel said that it is there; cleared when a look (sc_mapping_look, for a timer) finds it
 * gone. A page that was evicted since the last look makes one read wait for the disk.
 *
 * A mapping only ever shortens the way to the bytes, which the reader verifies. Whenever it has
 * nothing to say, or what it gave does not verify, the file is read by system call, and the answer
 * to that counts. Touching a page that the disk cannot bring, or that somebody has cut off, raises
 * SIGBUS (shard/bus.h): the read says no, and the mapping is given up for good.
 *
 * The file must not be written to where it has been read, and not be cut. Single-threaded, each
 * mapping for itself; different ones may be used by different threads.
 */
#ifndef SC_SHARD_MAPPING_H
#define SC_SHARD_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Readable: base, size, broken. All zero is a mapping of nothing. */
struct sc_mapping {
    uint8_t *base; /* NULL: nothing is mapped */
    uint64_t size; /* bytes mapped, whole pages, maybe beyond the end of the file */
    uint64_t *warm; /* a bit for each page; page 0 is bit 0 of word 0 */
    uint64_t looked; /* the next word to be looked at */
    uint64_t found; /* whether anything was, in this round of looks: 0: no */
    bool broken; /* is never used again */
};

/* Maps the first `size` bytes of the file, which need not be there yet; what was mapped before is
 * let go. If the system refuses, the mapping is broken. */
void sc_mapping_map(struct sc_mapping *mapping, int fd, uint64_t size);

/* Lets go of everything but that it is broken. */
void sc_mapping_unmap(struct sc_mapping *mapping);

/* Copies bytes of the file if all of them are known to be in memory. False: read the file. */
bool sc_mapping_read(struct sc_mapping *mapping, uint64_t offset, void *to, size_t size);

/* These bytes were just read by system call, without waiting or after it: they are in memory. Those
 * not mapped are ignored. */
void sc_mapping_note(struct sc_mapping *mapping, uint64_t offset, size_t size);

/* Looks at some pages. Adds those that were thought to be in memory to `known`, and those of them
 * that turned out not to be to `gone`. False: the end was reached, and the next look begins again;
 * if nothing was in memory, nothing is mapped any more. */
bool sc_mapping_look(struct sc_mapping *mapping, uint64_t *known, uint64_t *gone);

/* Hints to the processor that these bytes are going to be read, should they be in memory. */
void sc_mapping_prefetch(const struct sc_mapping *mapping, uint64_t offset, size_t size);

#endif
