/*
 * The descriptor of an nng stream that was dialled, for sc_sp_hub_options of a library: libnng does
 * not tell it, and a library must not take the place of a system function, as sp_descriptor.h does.
 * So it is looked up among the open descriptors of the process: on tcp by the addresses of both
 * ends, on ipc by the process at the other.
 */
#ifndef SC_COMMON_SP_LOOKUP_H
#define SC_COMMON_SP_LOOKUP_H

#include <stdbool.h>

struct nng_stream;

/* The descriptor of a dialled stream, or -1 if it cannot be told for certain: without /proc, or
 * when the process has several ipc connections to the same server. It belongs to the stream.
 * Takes some microseconds, and one more for each four descriptors that are open. */
int sc_sp_lookup(struct nng_stream *stream, bool ipc);

#endif
