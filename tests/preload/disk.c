/* Breaks the disk under those files of a process whose path contains FAULT_DISK_PATH, as long as the file named by
 * FAULT_DISK says so: eight bytes, of this machine's order, read anew at every call.
 *
 *   0  healthy
 *   1  full: a write takes all but its last byte, and the rest fails with ENOSPC
 *   2  stuck: a sync does not come back before the disk is healthy again
 *   3  scarce: it takes everything, and says that 4 % of it are free; healthy, it says that half of it is */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { HEALTHY, FULL, STUCK, SCARCE };

static volatile const int64_t *state;
static const char *path_part;

__attribute__((constructor)) static void open_control(void) {
    const char *path = getenv("FAULT_DISK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    const char *part = getenv("FAULT_DISK_PATH");
    if (file < 0 || !part) return;
    path_part = strdup(part); /* a process that changes its title overwrites its environment */
    void *mapped = mmap(NULL, sizeof *state, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) state = mapped;
    close(file);
}

static int is_broken(int file, int64_t how) {
    char link[64], path[4096];
    if (!state || *state != how) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, path_part) != NULL;
}

ssize_t write(int file, const void *bytes, size_t length) {
    if (is_broken(file, FULL)) {
        if (length <= 1) {
            errno = ENOSPC;
            return -1;
        }
        length--;
    }
    return syscall(SYS_write, file, bytes, length);
}

int fdatasync(int file) {
    while (is_broken(file, STUCK)) usleep(10 * 1000);
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    while (is_broken(file, STUCK)) usleep(10 * 1000);
    return (int)syscall(SYS_fsync, file);
}

int statvfs(const char *path, struct statvfs *found) {
    struct statfs system;
    if (syscall(SYS_statfs, path, &system) != 0) return -1;
    memset(found, 0, sizeof *found);
    found->f_bsize = found->f_frsize = 4096;
    found->f_blocks = system.f_blocks;
    found->f_bfree = found->f_bavail = system.f_bavail;
    if (!state || !strstr(path, path_part)) return 0;
    found->f_blocks = 100000;
    found->f_bfree = found->f_bavail = *state == SCARCE ? 4000 : 50000;
    return 0;
}
