#include "common/sp_descriptor.h"

#include <nng/nng.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local int last = -1;

/* Visible, so that libnng is given this one. */
__attribute__((visibility("default"))) int
getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict size)
{
    last = fd;
    return (int)syscall(SYS_getsockopt, fd, level, name, value, size);
}

int sc_sp_descriptor(struct nng_stream *stream, bool ipc)
{
    uint64_t peer;
    bool nodelay;
    last = -1;
    int error = ipc ? nng_stream_get_uint64(stream, NNG_OPT_IPC_PEER_UID, &peer)
                    : nng_stream_get_bool(stream, NNG_OPT_TCP_NODELAY, &nodelay);
    return error == 0 ? last : -1;
}
