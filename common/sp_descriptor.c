#include "common/sp_descriptor.h"

#include <nng/nng.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local int last = -1;

/* Visible, so that libnng is given this one; with the parameters' names of the declaration. */
__attribute__((visibility("default"))) int getsockopt(int __fd, int __level, int __optname,
                                                      void *restrict __optval,
                                                      socklen_t *restrict __optlen)
{
    last = __fd;
    return (int)syscall(SYS_getsockopt, __fd, __level, __optname, __optval, __optlen);
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
