// Thirdparty verifies what Consilium prints without any of Consilium's code: signed
// notes by golang.org/x/mod/sumdb/note, trees by golang.org/x/mod/sumdb/tlog, and
// cosignature/v1 and tlog-proof as their C2SP texts say.
//
//	thirdparty note    -origin ORIGIN -keys FILE -quorum K FILE    prints size and root
//	thirdparty receipt -origin ORIGIN -keys FILE -quorum K FILE    prints index and SHA-256 of the entry
//
// FILE of -keys has a verifier key a line. Exit code 0: verified, 1: not, 2: usage.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const cosignatureV1 = 0x04 // the type of key, c2sp.org/tlog-cosignature

// cosigner is a note.Verifier of cosignature/v1 lines.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }

// Verify is given what follows the key id: an 8-byte time, then the signature.
func (c *cosigner) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	when := binary.BigEndian.Uint64(sig)
	if when > 1<<63-1 {
		return false
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", when, text)
	return ed25519.Verify(c.key, []byte(message), sig[8:])
}

// parseKey reads name+hex(key id)+base64(type || key).
func parseKey(line string) (*cosigner, error) {
	parts := strings.SplitN(line, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("a verifier key has three parts")
	}
	id, err := hex.DecodeString(parts[1])
	if err != nil || len(id) != 4 {
		return nil, errors.New("the key id is not 8 hex digits")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != cosignatureV1 {
		return nil, errors.New("not the key of a cosigner")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	if !bytes.Equal(sum[:4], id) {
		return nil, errors.New("the key id is not the key's")
	}
	return &cosigner{parts[0], binary.BigEndian.Uint32(id), ed25519.PublicKey(key[1:])}, nil
}

func readKeys(file string) ([]note.Verifier, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []note.Verifier
	for lines := bufio.NewScanner(f); lines.Scan(); {
		c, err := parseKey(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, c)
	}
	return list, nil
}

type policy struct {
	origin  string
	cosigns note.Verifiers
	quorum  int
}

// open verifies a checkpoint: its form, its origin, and enough cosignatures of different keys.
func (p *policy) open(text []byte) (*tlog.Tree, error) {
	n, err := note.Open(text, p.cosigns) // counts a key once
	if err != nil {
		return nil, err
	}
	if len(n.Sigs) < p.quorum {
		return nil, fmt.Errorf("%d cosignatures of %d", len(n.Sigs), p.quorum)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return nil, errors.New("the text is not three lines")
	}
	if lines[0] != p.origin {
		return nil, fmt.Errorf("the origin is %q", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return nil, errors.New("the size is not a number")
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return nil, err
	}
	return &tlog.Tree{N: size, Hash: root}, nil
}

func parseHash(text string) (hash tlog.Hash, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err == nil && len(raw) != len(hash) {
		err = errors.New("a hash has 32 bytes")
	}
	copy(hash[:], raw)
	return hash, err
}

// receipt verifies a tlog-proof whose extra data is the entry; c2sp.org/tlog-proof.
func (p *policy) receipt(text []byte) (index int64, entry []byte, err error) {
	head, checkpoint, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" ||
		!strings.HasPrefix(lines[1], "extra ") || !strings.HasPrefix(lines[2], "index ") {
		return 0, nil, errors.New("not a tlog-proof with an entry")
	}
	if entry, err = base64.StdEncoding.Strict().DecodeString(lines[1][6:]); err != nil {
		return 0, nil, err
	}
	if index, err = strconv.ParseInt(lines[2][6:], 10, 64); err != nil {
		return 0, nil, err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := parseHash(line)
		if err != nil {
			return 0, nil, err
		}
		proof = append(proof, hash)
	}
	tree, err := p.open(checkpoint)
	if err != nil {
		return 0, nil, err
	}
	return index, entry, tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func run(what string, p *policy, text []byte) error {
	if what == "note" {
		tree, err := p.open(text)
		if err == nil {
			fmt.Printf("%d %x\n", tree.N, tree.Hash[:])
		}
		return err
	}
	index, entry, err := p.receipt(text)
	if err == nil {
		fmt.Printf("%d %x\n", index, sha256.Sum256(entry))
	}
	return err
}

func main() {
	if len(os.Args) < 2 || (os.Args[1] != "note" && os.Args[1] != "receipt") {
		fmt.Fprintln(os.Stderr, "usage: thirdparty note|receipt -origin ORIGIN -keys FILE -quorum K FILE")
		os.Exit(2)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	origin := flags.String("origin", "", "the checkpoint's first line")
	keys := flags.String("keys", "", "verifier keys, one a line")
	quorum := flags.Int("quorum", 1, "how many of them must have cosigned")
	flags.Parse(os.Args[2:])
	list, err := readKeys(*keys)
	if err == nil && flags.NArg() != 1 {
		err = errors.New("one file is verified")
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "thirdparty:", err)
		os.Exit(2)
	}
	if err := run(os.Args[1], &policy{*origin, note.VerifierList(list...), *quorum}, text); err != nil {
		fmt.Fprintln(os.Stderr, "thirdparty:", err)
		os.Exit(1)
	}
}
