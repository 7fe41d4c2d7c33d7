/*
 * Bus: copies from and to files that are mapped into memory, where the kernel answers with SIGBUS
 * when it cannot bring a page, has no space for one, or somebody has cut the file.
 *
 * The handler of this module puts a page of zeros of our own in the place of such a page, and the
 * copy says that it failed; the mapping is worth nothing then and must be given up. Any other
 * SIGBUS goes to whoever handled it before. Any thread, each with a mapping of its own.
 */
#ifndef SC_SHARD_BUS_H
#define SC_SHARD_BUS_H

#include <stdbool.h>
#include <stddef.h>

/* Handles SIGBUS from now on; to be called before the first copy, any number of times. */
void sc_bus_init(void);

/* False: what was copied is worth nothing. */
bool sc_bus_read(void *to, const void *mapped, size_t size);

/* False: nobody knows what of it is in the file. */
bool sc_bus_write(void *mapped, const void *from, size_t size);

#endif
