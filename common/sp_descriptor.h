/*
 * The descriptor of an nng stream, for sc_sp_hub_options. libnng does not tell it, but asks the
 * system for options of the socket in the thread that asks it for them: this module takes the place
 * of getsockopt, for the whole process, does what getsockopt does, and remembers the descriptor. So
 * it is for programs of ours only, never for a library: link sc_sp_descriptor.
 */
#ifndef SC_COMMON_SP_DESCRIPTOR_H
#define SC_COMMON_SP_DESCRIPTOR_H

#include <stdbool.h>

struct nng_stream;

/* The descriptor of a stream on ipc or tcp (not on tls), or -1. It belongs to the stream. */
int sc_sp_descriptor(struct nng_stream *stream, bool ipc);

#endif
