#include "cli/default_policy.h"

/* The assembler reads the file: no generated source, and no copy that could
 * differ. It starts where make does; the Makefile knows the dependency. */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "default_policy_start:\n"
        ".incbin \"configs/policy.conf\"\n"
        "default_policy_end:\n"
        ".byte 0\n"
        ".popsection\n");

extern const uint8_t default_policy_start[] __attribute__((visibility("hidden")));
extern const uint8_t default_policy_end[] __attribute__((visibility("hidden")));

struct bytes default_policy(void)
{
    /* Two labels of one section: one object to the linker. */
    /* cppcheck-suppress comparePointers */
    return bytes_of(default_policy_start, (size_t)(default_policy_end - default_policy_start));
}
