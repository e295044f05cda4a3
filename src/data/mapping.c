#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static rf_status cannot_read(const char *path, const char *why)
{
    return rf_fail(RF_INPUT, "cannot read the data file: %s (%s). Check the path and its rights",
                   why, path);
}

rf_status rf_mapping_open(rf_mapping *mapping, const char *path)
{
    *mapping = (rf_mapping){0};
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return cannot_read(path, strerror(errno));
    struct stat info;
    rf_status status = RF_OK;
    if (fstat(file, &info) != 0)
        status = cannot_read(path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = cannot_read(path, "it is not a regular file");
    else if (info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (bytes == MAP_FAILED)
            status = cannot_read(path, strerror(errno));
        else
            *mapping = (rf_mapping){.bytes = bytes, .size = (size_t)info.st_size};
    }
    close(file);
    return status;
}

void rf_mapping_close(rf_mapping *mapping)
{
    if (mapping->bytes) munmap((void *)mapping->bytes, mapping->size);
    *mapping = (rf_mapping){0};
}
