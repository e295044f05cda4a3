#include "refract/base/arena.h"

#include <string.h>
#include <sys/mman.h>

rf_arena rf_arena_counting(const char *name)
{
    return (rf_arena){.name = name, .size = SIZE_MAX};
}

rf_status rf_arena_create(rf_arena *arena, const char *name, size_t size)
{
    *arena = (rf_arena){.name = name, .size = size};
    if (size == 0) return RF_OK;
    /* cppcheck-suppress invalidFunctionArg ; -1 is what anonymous memory asks for */
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        arena->size = 0;
        return rf_fail(RF_RESOURCES,
                       "not enough memory for the %s arena (%.1f MiB). Use more ranks or a smaller "
                       "train.micro_tokens",
                       name, (double)size / 1048576.0);
    }
    madvise(base, size, MADV_HUGEPAGE);
    arena->base = base;
    return RF_OK;
}

void rf_arena_destroy(rf_arena *arena)
{
    if (arena->base) munmap(arena->base, arena->size);
    *arena = (rf_arena){0};
}

void *rf_arena_take(rf_arena *arena, int64_t count, size_t item)
{
    RF_ASSERT(count >= 0, "%s arena: %lld items", arena->name, (long long)count);
    size_t bytes = 0;
    const int overflow = __builtin_mul_overflow((size_t)count, item, &bytes) ||
                         __builtin_add_overflow(bytes, RF_ARENA_ALIGN - 1, &bytes);
    RF_ASSERT(!overflow, "%s arena: %lld items of %zu bytes", arena->name, (long long)count, item);
    bytes &= ~(size_t)(RF_ARENA_ALIGN - 1);
    RF_ASSERT(bytes <= arena->size - arena->used, "%s arena: %zu bytes wanted, %zu of %zu used",
              arena->name, bytes, arena->used, arena->size);
    char *taken = arena->base ? arena->base + arena->used : NULL;
    arena->used += bytes;
    if (arena->used > arena->peak) arena->peak = arena->used;
    return taken;
}

size_t rf_arena_mark(const rf_arena *arena)
{
    return arena->used;
}

void rf_arena_release(rf_arena *arena, size_t mark)
{
    RF_ASSERT(mark <= arena->used, "%s arena: mark %zu above %zu", arena->name, mark, arena->used);
    arena->used = mark;
}
