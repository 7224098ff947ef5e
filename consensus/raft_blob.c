#include <string.h>

#include "base/check.h"
#include "consensus/raft.h"

struct raft_blob *raft_blob_new(uint8_t **fill, size_t size)
{
    CHECK(size <= UINT32_MAX);
    struct raft_blob *blob = malloc(sizeof *blob + size);
    if (!blob) return NULL;
    uint8_t *data = (uint8_t *)(blob + 1);
    *blob = (struct raft_blob){.size = (uint32_t)size, .data = data};
    atomic_init(&blob->references, 1);
    *fill = data;
    return blob;
}

struct raft_blob *raft_blob_copy(struct bytes content)
{
    uint8_t *fill;
    struct raft_blob *blob = raft_blob_new(&fill, content.size);
    if (blob && content.size) memcpy(fill, content.data, content.size);
    return blob;
}

struct raft_blob *raft_blob_wrap(struct bytes content, void (*release)(void *owner), void *owner)
{
    CHECK(content.size <= UINT32_MAX && release);
    struct raft_blob *blob = malloc(sizeof *blob);
    if (!blob) return NULL;
    *blob = (struct raft_blob){
        .size = (uint32_t)content.size, .data = content.data, .release = release, .owner = owner};
    atomic_init(&blob->references, 1);
    return blob;
}

struct raft_blob *raft_blob_retain(struct raft_blob *blob)
{
    if (blob) CHECK(atomic_fetch_add_explicit(&blob->references, 1, memory_order_relaxed) > 0);
    return blob;
}

void raft_blob_release(struct raft_blob *blob)
{
    if (!blob) return;
    /* Release: our uses come before the count drops. Acquire: the last one sees all others' uses. */
    unsigned before = atomic_fetch_sub_explicit(&blob->references, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1) return;
    if (blob->release) blob->release(blob->owner);
    free(blob);
}

struct bytes raft_blob_bytes(const struct raft_blob *blob)
{
    return blob ? bytes_of(blob->data, blob->size) : (struct bytes){0};
}
