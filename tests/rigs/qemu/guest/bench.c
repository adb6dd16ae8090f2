/* bench DEVICE[,DEVICE...] read|write|random SIZE COUNT THREADS: direct transfers, thread N on device N mod devices.
   bench FILE text 1 COUNT 1: reads a whole small file again and again.
   Prints MB/s, latency in microseconds (least, median, 99 %), and the sum of one word of each sector read.
   busybox's dd knows no O_DIRECT, and without it the page cache is measured. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST 64

enum { READ, WRITE, RANDOM, TEXT };

static int fds[MOST], devices, threads;
static long size, count, blocks;
static int kind;
static double *took;
static uint64_t sums[MOST];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *work(void *argument)
{
    long number = (long)argument, i, at;
    int fd = fds[number % devices];
    char *buffer;
    if (posix_memalign((void **)&buffer, 4096, kind == TEXT ? 65536 : size)) exit(1);
    memset(buffer, 0x5a, kind == TEXT ? 65536 : size);
    for (i = number; i < count; i += threads) {
        /* Knuth's multiplier: the same sequence of places on every device. */
        long block = kind == RANDOM ? (long)((uint64_t)i * 2654435761u % (uint64_t)blocks) : i % blocks;
        double begin = now();
        long done = kind == TEXT ? (pread(fd, buffer, 65536, 0) > 0 ? size : -1)
            : kind == WRITE ? pwrite(fd, buffer, size, block * size)
            : pread(fd, buffer, size, block * size);
        if (done != size) { perror("transfer"); exit(1); }
        took[i] = now() - begin;
        if (kind == READ || kind == RANDOM)
            for (at = 0; at < size; at += 512) sums[number] += *(uint32_t *)(buffer + at);
    }
    return 0;
}

int main(int argc, char **argv)
{
    pthread_t all[MOST];
    double begin, total;
    uint64_t sum = 0;
    char *name;
    long i;
    if (argc != 6) return 2;
    kind = !strcmp(argv[2], "write") ? WRITE : !strcmp(argv[2], "random") ? RANDOM : !strcmp(argv[2], "text") ? TEXT : READ;
    size = atol(argv[3]);
    count = atol(argv[4]);
    threads = atoi(argv[5]);
    if (size <= 0 || count <= 0 || threads < 1 || threads > MOST) return 2;
    for (name = strtok(argv[1], ","); name && devices < MOST; name = strtok(0, ",")) {
        int fd = open(name, kind == TEXT ? O_RDONLY : (kind == WRITE ? O_RDWR : O_RDONLY) | O_DIRECT);
        long there;
        if (fd < 0) { perror(name); return 1; }
        there = kind == TEXT ? 1 : lseek(fd, 0, SEEK_END) / size;
        if (!devices || there < blocks) blocks = there;
        fds[devices++] = fd;
    }
    took = calloc(count, sizeof *took);
    if (!devices || blocks < 1 || !took) return 1;
    begin = now();
    for (i = 0; i < threads; i++) if (pthread_create(&all[i], 0, work, (void *)i)) return 1;
    for (i = 0; i < threads; i++) pthread_join(all[i], 0);
    if (kind == WRITE)
        for (i = 0; i < devices; i++) if (fsync(fds[i])) { perror("fsync"); return 1; }
    total = now() - begin;
    for (i = 0; i < threads; i++) sum += sums[i];
    qsort(took, count, sizeof *took, compare);
    printf("%.3f %.0f %.0f %.0f %016llx\n", (double)size * count / total, took[0], took[count / 2], took[count * 99 / 100],
        (unsigned long long)sum);
    return 0;
}
