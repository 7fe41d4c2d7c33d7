/* Directories of pybitcask: the input is one data file, and then two. */
#include "tests/fuzz/fuzz_import.h"
#include "tools/pybitcask.h"

#include <sys/stat.h>

static void read_dir(void)
{
    fuzz_read(&sc_import_pybitcask, fuzz_path("p"), &(struct sc_import_options){.db = -1}, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_empty();
    must(mkdir(fuzz_path("p"), 0700) == 0);
    fuzz_write("p/data_1.db", data, size);
    read_dir();
    fuzz_write("p/data_10.db", data, size / 2);
    fuzz_write("p/data_9.db", data + size / 2, size - size / 2);
    read_dir();
    return 0;
}
