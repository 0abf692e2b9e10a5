// spec: C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof, tlog-witness (add-checkpoint)
#include "tlog/note.h"

#include <gtest/gtest.h>

#include "tlog/chain.h"
#include "tlog/proof.h"

namespace tb::tlog {
namespace {

template <typename F>
std::string reason_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

Ed25519PrivateKey key_of(std::uint8_t byte) {
  std::array<std::uint8_t, 32> seed{};
  seed.fill(byte);
  return Ed25519PrivateKey(Secret<32>(seed));
}

NoteKey plain_key(const std::string& name, const Ed25519PrivateKey& key) {
  return {.name = name, .type = SignatureType::kEd25519, .key = key.public_key()};
}

Note replaced(Note note, std::string_view from, std::string_view to) {
  std::string text = note.to_text();
  text.replace(text.find(from), from.size(), to);
  return Note::parse(text);
}

// The note and key of the documentation of Go's golang.org/x/mod/sumdb/note.
constexpr std::string_view kGoNote =
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\xe2\x80\x94 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

NoteKey go_key() {
  const Bytes raw = value_or_throw(from_base64("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"));
  NoteKey key{.name = "PeterNeumann", .type = SignatureType{raw[0]}, .key = {}};
  std::copy(raw.begin() + 1, raw.end(), key.key.begin());
  return key;
}

TEST(Note, AnotherImplementationsNoteVerifies) {
  EXPECT_EQ(go_key().id(), 0xc74f20a3U);
  const Note note = Note::parse(kGoNote);
  EXPECT_EQ(note.to_text(), kGoNote);
  const NoteKey known[] = {go_key()};
  EXPECT_EQ(verify(note, known).size(), 1U);
  EXPECT_EQ(reason_of([&] { verify(replaced(note, "answer", "ANSWER"), known); }), "note_unverified");
}

TEST(Note, UnknownSignaturesAreIgnoredAndBadKnownOnesRefuse) {
  const auto one = key_of(1);
  const auto two = key_of(2);
  Note note{.text = "text\n\nwith an empty line\n", .signatures = {}};
  note.signatures = {sign(two, "two", note.text), sign(one, "one", note.text)};
  const Note read = Note::parse(note.to_text());
  EXPECT_EQ(read, note);
  const NoteKey known[] = {plain_key("one", one)};
  ASSERT_EQ(verify(read, known).size(), 1U);
  EXPECT_EQ(verify(read, known)[0].key.name, "one");
  const NoteKey both[] = {plain_key("one", one), plain_key("two", two)};
  EXPECT_EQ(verify(read, both).size(), 2U);
  Note bad = note;
  bad.signatures[0].bytes[5] ^= 1;
  EXPECT_EQ(verify(bad, known).size(), 1U);
  EXPECT_EQ(reason_of([&] { verify(bad, both); }), "note_unverified");
  // The same name with another key's id, and the same key under another name, are unknown.
  const NoteKey others[] = {plain_key("one", two), plain_key("three", one)};
  EXPECT_EQ(reason_of([&] { verify(read, others); }), "note_unverified");
  EXPECT_EQ(reason_of([&] { verify(read, {}); }), "note_unverified");
}

TEST(Note, MalformedNotesAreRefused) {
  const std::string good = Note{.text = "text\n", .signatures = {sign(key_of(1), "one", "text\n")}}.to_text();
  const std::string line = good.substr(6);
  const auto refused = [](const std::string& note) { return reason_of([&] { Note::parse(note); }); };
  EXPECT_EQ(refused(good), "nothing");
  for (const std::string& note : std::vector<std::string>{std::string(),
                                                          std::string("text\n"),
                                                          "text\n" + line,
                                                          "\n" + line,
                                                          "text\n\n",
                                                          good.substr(0, good.size() - 1),
                                                          good + "\n",
                                                          good + "more\n",
                                                          "te\x01xt\n\n" + line,
                                                          "te\rxt\n\n" + line,
                                                          "te\tt\n\n" + line,
                                                          "te\xff\n\n" + line,
                                                          "text\n\n- one " + line.substr(8),
                                                          "text\n\n" + line.substr(0, 3) + line.substr(4),
                                                          "text\n\n\xe2\x80\x94  one AAAAAAAA\n",
                                                          "text\n\n\xe2\x80\x94 one\n",
                                                          "text\n\n\xe2\x80\x94 one AAAA\n",
                                                          "text\n\n\xe2\x80\x94 one AAAAAA==\n",
                                                          "text\n\n\xe2\x80\x94 one AAAAAAA\n",
                                                          "text\n\n\xe2\x80\x94 one  AAAAAAAA\n",
                                                          "text\n\n\xe2\x80\x94 o+e AAAAAAAA\n",
                                                          "text\n\n\xe2\x80\x94 o\xc2\xa0x AAAAAAAA\n",
                                                          "text\n\n\xe2\x80\x94 o\xe2\x80\x83\x65 AAAAAAAA\n",
                                                          "text\n\n\xe2\x80\x94 one AAAAAAAA \n"}) {
    EXPECT_EQ(refused(note), "note_malformed") << note;
  }
  std::string many = "text\n\n";
  for (std::size_t i = 0; i < kMaxNoteSignatures; ++i) many += line;
  EXPECT_EQ(refused(many), "nothing");
  EXPECT_EQ(refused(many + line), "note_malformed");
  EXPECT_EQ(refused(std::string(kMaxNoteBytes, 'a') + "\n\n" + line), "note_malformed");
}

TEST(Note, WhatNoNoteMayHoldIsNotSigned) {
  EXPECT_EQ(reason_of([] { sign(key_of(1), "a b", "text\n"); }), "internal");
  EXPECT_EQ(reason_of([] { sign(key_of(1), "", "text\n"); }), "internal");
  EXPECT_EQ(reason_of([] { sign(key_of(1), "a", "text"); }), "internal");
  EXPECT_EQ(reason_of([] { cosign(key_of(1), "a", "te\rxt\n", 1); }), "internal");
}

TEST(Cosignature, CarriesItsTimeAndIsOfItsOwnKind) {
  const auto log = key_of(1);
  const auto witness = key_of(2);
  Note note = sign_checkpoint({.origin = "a.example/log", .size = 3, .root = leaf_hash("x"), .extensions = {}}, log);
  note.signatures.push_back(cosign(witness, "w.example", note.text, 1679315147));
  const Note read = Note::parse(note.to_text());
  const NoteKey cosigner{.name = "w.example", .type = SignatureType::kCosignature, .key = witness.public_key()};
  const NoteKey known[] = {cosigner};
  ASSERT_EQ(verify(read, known).size(), 1U);
  EXPECT_EQ(verify(read, known)[0].time_seconds, 1679315147U);
  const std::string signed_text = "cosignature/v1\ntime 1679315147\n" + note.text;
  EXPECT_TRUE(
      ed25519_verify(witness.public_key(), as_bytes(signed_text), ByteView(read.signatures[1].bytes).subspan(8)));
  // As a plain signature it is another key.
  const NoteKey as_plain[] = {plain_key("w.example", witness)};
  EXPECT_EQ(reason_of([&] { verify(read, as_plain); }), "note_unverified");
  for (std::size_t at : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{71}}) {
    Note changed = read;
    changed.signatures[1].bytes[at] ^= 0x80;
    EXPECT_EQ(reason_of([&] { verify(changed, known); }), "note_unverified") << at;
  }
  Note cut = read;
  cut.signatures[1].bytes.resize(71);
  EXPECT_EQ(reason_of([&] { verify(cut, known); }), "note_unverified");
}

TEST(Checkpoint, TextIsStrict) {
  const std::string root = to_base64(leaf_hash("x"));
  const Checkpoint checkpoint{.origin = "a b", .size = 20852163, .root = leaf_hash("x"), .extensions = {"ext 1", "2"}};
  EXPECT_EQ(checkpoint.to_text(), "a b\n20852163\n" + root + "\next 1\n2\n");
  EXPECT_EQ(Checkpoint::parse(checkpoint.to_text()), checkpoint);
  EXPECT_EQ(Checkpoint::parse("a\n0\n" + root + "\n").size, 0U);
  for (const std::string& text : std::vector<std::string>{
           std::string(), std::string("a\n"), std::string("a\n1\n"), "a\n1\n" + root, "\n1\n" + root + "\n",
           "a\n01\n" + root + "\n", "a\n-1\n" + root + "\n", "a\n+1\n" + root + "\n", "a\n\n" + root + "\n",
           "a\n1 \n" + root + "\n", "a\n9223372036854775808\n" + root + "\n", "a\n99999999999999999999\n" + root + "\n",
           "a\n1\n" + root.substr(0, 40) + "\n", "a\n1\n" + root + "AAAA\n", "a\n1\n" + root + "\n\n",
           "a\n1\n" + root + "\nx"}) {
    EXPECT_EQ(reason_of([&] { Checkpoint::parse(text); }), "checkpoint_malformed") << text;
  }
}

TEST(Checkpoint, AKeyedOriginIsAKeyNameThatCommitsToTheKey) {
  const auto key = key_of(1).public_key();
  EXPECT_EQ(keyed_origin(key, "audit"), "trustbridge/" + to_base64url(sha256(key)) + "/audit");
  EXPECT_TRUE(valid_key_name(keyed_origin(key, "audit")));
}

TEST(Checkpoint, OnlyThePinnedKeyUnderTheOriginsNameCounts) {
  const auto log = key_of(1);
  const Checkpoint checkpoint{.origin = "a.example/log", .size = 1, .root = leaf_hash("x"), .extensions = {}};
  const Note note = sign_checkpoint(checkpoint, log);
  EXPECT_EQ(verified_checkpoint(note, log.public_key()), checkpoint);
  EXPECT_EQ(reason_of([&] { verified_checkpoint(note, key_of(2).public_key()); }), "note_unverified");
  Note renamed = note;
  renamed.signatures = {sign(log, "other", note.text)};
  EXPECT_EQ(reason_of([&] { verified_checkpoint(renamed, log.public_key()); }), "note_unverified");
  EXPECT_EQ(reason_of([&] { verified_checkpoint(replaced(note, "\n1\n", "\n2\n"), log.public_key()); }),
            "note_unverified");
}

class Proofs : public testing::Test {
 protected:
  InclusionProof proof_of(std::uint64_t index) const {
    const NodeReader read = [this](unsigned height, std::uint64_t at) {
      Frontier part;
      for (std::uint64_t i = at << height; i < (at + 1) << height; ++i) part.append(leaf_hash(lines_[i]));
      return part.root();
    };
    return {
        .extra = lines_[index],
        .index = index,
        .hashes = inclusion_proof(index, lines_.size(), read),
        .checkpoint = sign_checkpoint(
            {.origin = "a.example/log", .size = lines_.size(), .root = root_at(lines_.size(), read), .extensions = {}},
            key_)};
  }

  const std::vector<std::string> lines_ = {"a", "b", "c", "d", "e"};
  const Ed25519PrivateKey key_ = key_of(1);
};

TEST_F(Proofs, AFileStandsAlone) {
  for (std::uint64_t i = 0; i < lines_.size(); ++i) {
    const std::string text = proof_of(i).to_text();
    const InclusionProof read = InclusionProof::parse(text);
    EXPECT_EQ(read.to_text(), text);
    EXPECT_EQ(verified_inclusion(read, *read.extra, key_.public_key()).size, 5U);
    EXPECT_EQ(reason_of([&] { verified_inclusion(read, "z", key_.public_key()); }), "proof_mismatch");
    EXPECT_EQ(reason_of([&] { verified_inclusion(read, lines_[i], key_of(2).public_key()); }), "note_unverified");
  }
  InclusionProof bare = proof_of(1);
  bare.extra.reset();
  EXPECT_EQ(InclusionProof::parse(bare.to_text()).extra, std::nullopt);
}

TEST_F(Proofs, OtherFilesAreRefused) {
  const std::string good = proof_of(1).to_text();
  const auto changed = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return reason_of([&] { InclusionProof::parse(text); });
  };
  EXPECT_EQ(changed("@v1", "@v2"), "proof_malformed");
  EXPECT_EQ(changed("index 1", "indeks 1"), "proof_malformed");
  EXPECT_EQ(changed("index 1", "index 01"), "checkpoint_malformed");
  EXPECT_EQ(changed("index 1", "index -1"), "checkpoint_malformed");
  EXPECT_EQ(changed("extra Yg==", "extra Yg="), "proof_malformed");
  EXPECT_EQ(changed("extra Yg==", "extra"), "proof_malformed");
  EXPECT_EQ(changed("index 1\n", "index 1\nAAAA\n"), "checkpoint_malformed");
  EXPECT_EQ(changed("index 1\n", "index 1\n\n"), "checkpoint_malformed");
  EXPECT_EQ(reason_of([] { InclusionProof::parse(""); }), "proof_malformed");
  EXPECT_EQ(reason_of([&] { InclusionProof::parse(good.substr(0, 40)); }), "proof_malformed");
  InclusionProof many = proof_of(1);
  many.hashes.resize(kMaxProofHashes + 1);
  EXPECT_EQ(reason_of([&] { InclusionProof::parse(many.to_text()); }), "proof_malformed");
}

TEST_F(Proofs, AddCheckpointIsStrict) {
  const AddCheckpoint request{
      .old_size = 2, .consistency = {leaf_hash("x"), leaf_hash("y")}, .checkpoint = proof_of(0).checkpoint};
  const std::string text = request.to_text();
  EXPECT_TRUE(text.starts_with("old 2\n" + to_base64(leaf_hash("x")) + "\n"));
  EXPECT_EQ(AddCheckpoint::parse(text).to_text(), text);
  EXPECT_EQ(reason_of([&] { AddCheckpoint::parse("new" + text.substr(3)); }), "proof_malformed");
  EXPECT_EQ(reason_of([&] { AddCheckpoint::parse("old 02" + text.substr(5)); }), "checkpoint_malformed");
  EXPECT_EQ(reason_of([&] { AddCheckpoint::parse(text.substr(0, 60)); }), "proof_malformed");
  EXPECT_EQ(reason_of([&] { AddCheckpoint::parse("old 2\n\n"); }), "note_malformed");
  AddCheckpoint many = request;
  many.consistency.resize(kMaxProofHashes + 1);
  EXPECT_EQ(reason_of([&] { AddCheckpoint::parse(many.to_text()); }), "proof_malformed");
}

}  // namespace
}  // namespace tb::tlog
