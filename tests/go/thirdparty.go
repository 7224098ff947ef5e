// Thirdparty verifies what Consilium prints without any of Consilium's code: signed
// notes by golang.org/x/mod/sumdb/note, trees by golang.org/x/mod/sumdb/tlog, and
// cosignature/v1 and tlog-proof as their C2SP texts say.
//
//	thirdparty note    -origin ORIGIN -keys FILE -quorum K FILE    prints size and root
//	thirdparty receipt -origin ORIGIN -keys FILE -quorum K FILE    prints index and SHA-256 of the entry
//	thirdparty tiles   -origin ORIGIN -keys FILE -quorum K URL     reads a node's tiles, prints size and root
//	thirdparty bundle  -origin ORIGIN -keys FILE -quorum K FOLDER  reads an export, prints size and root
//
// FILE of -keys has a verifier key a line. Exit code 0: verified, 1: not, 2: usage.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
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

// tiles reads C2SP tlog-tiles: get returns a file below the log's prefix.
type tiles struct {
	get  func(path string) ([]byte, error)
	kept map[string][]byte
}

func (t *tiles) Height() int                         { return 8 }
func (t *tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (t *tiles) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range list {
		// Go's paths have the height in front: tile/8/0/000 is tile/0/000 here.
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		if t.kept[path] == nil {
			data, err := t.get(path)
			if err != nil {
				return nil, err
			}
			t.kept[path] = data
		}
		all = append(all, t.kept[path])
	}
	return all, nil
}

func fromURL(prefix string) func(string) ([]byte, error) {
	// The node's certificate is self-signed; what it serves proves itself.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return func(path string) ([]byte, error) {
		response, err := client.Get(prefix + "/" + path)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != 200 {
			return nil, fmt.Errorf("%s: %s", path, response.Status)
		}
		return io.ReadAll(response.Body)
	}
}

func fromFolder(folder string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) { return os.ReadFile(folder + "/" + path) }
}

// checkTiles reads every leaf's hash from tiles that lead to the checkpoint's root,
// computes the root from those alone, and, of an export, hashes every entry.
func (p *policy) checkTiles(get func(string) ([]byte, error), entries bool) (*tlog.Tree, error) {
	text, err := get("checkpoint")
	if err != nil {
		return nil, err
	}
	tree, err := p.open(text)
	if err != nil {
		return nil, err
	}
	reader := tlog.TileHashReader(*tree, &tiles{get, map[string][]byte{}})
	var stored []tlog.Hash // of an own tree
	own := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, stored[i])
		}
		return list, nil
	})
	var bundle []byte
	for i := int64(0); i < tree.N; i++ {
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
		if err != nil {
			return nil, err
		}
		if entries {
			var entry []byte
			if entry, bundle, err = nextEntry(get, bundle, i, tree.N); err != nil {
				return nil, err
			}
			if tlog.RecordHash(entry) != hashes[0] {
				return nil, fmt.Errorf("entry %d is another one", i)
			}
		}
		more, err := tlog.StoredHashesForRecordHash(i, hashes[0], own)
		if err != nil {
			return nil, err
		}
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(tree.N, own)
	if err == nil && root != tree.Hash {
		err = errors.New("the tiles lead to another root")
	}
	return tree, err
}

// nextEntry is the entry at the start of the bundle, which is read where it begins.
func nextEntry(get func(string) ([]byte, error), bundle []byte, i, size int64) (entry, rest []byte, err error) {
	if i%256 == 0 {
		tile := tlog.Tile{H: 8, L: -1, N: i / 256, W: 256} // "data", in Go's words
		if i+256 > size {
			tile.W = int(size - i)
		}
		if bundle, err = get("tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/data/")); err != nil {
			return nil, nil, err
		}
	}
	if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
		return nil, nil, fmt.Errorf("the bundle ends before entry %d", i)
	}
	end := 2 + int(binary.BigEndian.Uint16(bundle))
	return bundle[2:end], bundle[end:], nil
}

func runTiles(p *policy, get func(string) ([]byte, error), entries bool) error {
	tree, err := p.checkTiles(get, entries)
	if err == nil {
		fmt.Printf("%d %x\n", tree.N, tree.Hash[:])
	}
	return err
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
	kinds := map[string]bool{"note": true, "receipt": true, "tiles": true, "bundle": true}
	if len(os.Args) < 2 || !kinds[os.Args[1]] {
		fmt.Fprintln(os.Stderr, "usage: thirdparty note|receipt|tiles|bundle -origin ORIGIN -keys FILE -quorum K FILE")
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
	what, trust := os.Args[1], &policy{*origin, note.VerifierList(list...), *quorum}
	var text []byte
	if err == nil && (what == "note" || what == "receipt") {
		text, err = os.ReadFile(flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "thirdparty:", err)
		os.Exit(2)
	}
	switch what {
	case "tiles":
		err = runTiles(trust, fromURL(flags.Arg(0)), false)
	case "bundle":
		err = runTiles(trust, fromFolder(flags.Arg(0)), true)
	default:
		err = run(what, trust, text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "thirdparty:", err)
		os.Exit(1)
	}
}
