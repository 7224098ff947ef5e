/* `consiliumd dump` of a row with any key and any value: the first byte is the key's size. */
#include "node/dump.c" /* its decoder is its own */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    FILE *before = stdout;
    if (!nowhere) nowhere = fopen("/dev/null", "w");
    if (!nowhere || size == 0 || data[0] > size - 1) return 0;
    stdout = nowhere;
    print_row(bytes_of(data + 1, data[0]), bytes_of(data + 1 + data[0], size - 1 - data[0]));
    stdout = before;
    return 0;
}
