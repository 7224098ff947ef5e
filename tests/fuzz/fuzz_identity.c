/* A key file from anywhere: exact parsing, costs within bounds, and opening the
 * cheap ones with a wrong passphrase without a crash. */
#include "base/check.h"
#include "crypto/passphrase.h"
#include "crypto/random.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_file file;
    struct failure failure = {OK, ""};
    uint8_t seed[SIGN_SEED_SIZE];
    crypto_init();
    if (key_file_parse(&file, bytes_of(data, size), &failure) != OK) {
        CHECK(failure.code != OK && failure.text[0] != '\0');
        return 0;
    }
    struct buffer out = {0};
    CHECK(key_file_format(&out, &file) == OK);
    CHECK(bytes_equal(buffer_bytes(&out), bytes_of(data, size)));
    buffer_free(&out);
    fuzz_taken = true;
    CHECK(file.cost.memory_kib <= 1024 * 1024 && file.cost.passes <= 16);
    if (file.cost.memory_kib <= 64 && file.cost.passes <= 2)
        CHECK(key_file_open(seed, &file, bytes_text("not the passphrase")) != OK);
    return 0;
}
