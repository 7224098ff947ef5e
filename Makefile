# Targets: all deps check asan tsan lint fuzz sim bench demo demo-stop clean (V=1 shows commands).
# BUILD names the output folder, so that sanitizer builds live beside the plain one.
BUILD    ?= build
CC       ?= gcc
SAN      ?=
OPT      ?= -O2
WARN      = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
            -Wundef -Wformat=2 -Wno-missing-field-initializers -Wimplicit-fallthrough
CFLAGS   ?= $(OPT) -g
# _DEFAULT_SOURCE and _GNU_SOURCE: pipe2, accept4, fallocate, explicit Linux calls.
CPPFLAGS += -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
HARDEN    = -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
ALLFLAGS  = -std=c11 $(WARN) $(CPPFLAGS) $(HARDEN) $(CFLAGS) $(SAN) -MMD -MP -pthread
LDLIBS    = -lsodium -lmbedtls -lmbedx509 -lmbedcrypto -llmdb -lmsgpackc -luv -ljansson -linih \
            -lsmartcols -lutf8proc -lpthread
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(SAN)
Q        := $(if $(V),,@)

LAYERS    = base crypto storage ledger net consensus
lib_src   = $(foreach d,$(LAYERS),$(wildcard $(d)/*.c))
node_src  = $(filter-out node/main.c,$(wildcard node/*.c))
cli_src   = $(filter-out cli/main.c,$(wildcard cli/*.c))
tlib_src  = $(filter-out tests/lib/liar.c,$(wildcard tests/lib/*.c))
sim_src   = $(wildcard tests/sim/*.c)
unit_src  = $(wildcard tests/unit/*/test_*.c)
clus_src  = $(wildcard tests/cluster/test_*.c)
fuzz_src  = $(wildcard tests/fuzz/fuzz_*.c)
bench_src = $(wildcard tests/bench/*.c)
o         = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB       = $(BUILD)/libconsilium.a
NODELIB   = $(BUILD)/libnode.a
CLILIB    = $(BUILD)/libcli.a
TLIB      = $(BUILD)/libtest.a
UNIT      = $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(unit_src))
CLUS      = $(patsubst tests/cluster/%.c,$(BUILD)/cluster/%,$(clus_src))
REPLAY    = $(patsubst tests/fuzz/%.c,$(BUILD)/replay/%,$(fuzz_src))
PROGS     = $(if $(wildcard node/main.c),$(BUILD)/consiliumd) $(if $(wildcard cli/main.c),$(BUILD)/consilium)

all: $(PROGS)
.PHONY: all deps check asan tsan lint fuzz sim bench demo demo-stop clean unit cluster replay tools

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC  $<")
	$(Q)$(CC) $(ALLFLAGS) -c -o $@ $<

define archive
$(1): $$(call o,$(2))
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(eval $(call archive,$(LIB),$(lib_src)))
$(eval $(call archive,$(NODELIB),$(node_src)))
$(eval $(call archive,$(CLILIB),$(cli_src)))
$(eval $(call archive,$(TLIB),$(tlib_src)))

LINK = @mkdir -p $(@D); $(if $(V),,echo "  LD  $@";) \
       $(CC) $(CFLAGS) $(SAN) -o $@ $(filter %.o %.a,$^) $(LDFLAGS) $(LDLIBS)
$(BUILD)/consiliumd: $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK)
$(BUILD)/consilium: $(BUILD)/cli/main.o $(CLILIB) $(LIB)
	$(LINK)
$(BUILD)/liar: $(BUILD)/tests/lib/liar.o $(NODELIB) $(LIB)
	$(LINK)
$(BUILD)/simulate: $(call o,$(sim_src)) $(LIB)
	$(LINK)
$(BUILD)/bench: $(call o,$(bench_src)) $(TLIB) $(CLILIB) $(LIB)
	$(LINK)
$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(TLIB) $(NODELIB) $(CLILIB) $(LIB)
	$(LINK) -lcmocka
$(BUILD)/cluster/%: $(BUILD)/tests/cluster/%.o $(TLIB) $(CLILIB) $(LIB)
	$(LINK) -lcmocka
# The unit run feeds every fuzz target its corpus through an ordinary main().
$(BUILD)/replay/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(NODELIB) $(CLILIB) $(LIB)
	$(LINK)

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.SECONDARY:
