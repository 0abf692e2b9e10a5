#include "oci/sbom.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"

namespace tb::oci {
namespace {

constexpr std::string_view kUnknown = "NOASSERTION";

// SPDX ids are letters, digits, '.' and '-'.
std::string spdx_id(std::string_view kind, std::string_view name) {
  std::string out = fmt::format("SPDXRef-{}-{}", kind, name);
  for (char& c : out) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    if (!plain) c = '-';
  }
  return out;
}

Json relation(const std::string& from, std::string_view kind, const std::string& to) {
  Json out = Json::object();
  out.set("spdxElementId", from);
  out.set("relationshipType", kind);
  out.set("relatedSpdxElement", to);
  return out;
}

// '+' and ':' of Debian's versions are not a purl's own characters.
std::string purl_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '+' || c == ':' || c == '~' || c == '%') {
      out += c == '~' ? std::string("~") : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

Json package_json(const std::string& id, const std::string& name, const std::string& version) {
  Json out = Json::object();
  out.set("SPDXID", id);
  out.set("name", name);
  out.set("versionInfo", version);
  out.set("downloadLocation", kUnknown);
  out.set("filesAnalyzed", false);
  out.set("licenseConcluded", kUnknown);
  out.set("licenseDeclared", kUnknown);
  out.set("copyrightText", kUnknown);
  return out;
}

Json debian_json(const std::string& id, const DebianPackage& package) {
  Json out = package_json(id, package.name, package.version);
  out.set("supplier", "Organization: Debian");
  const std::string licence = spdx_licence(package.licence);
  if (!licence.empty()) out.set("licenseDeclared", licence);
  if (licence.empty() && !package.licence.empty())
    out.set("licenseComments", "Debian's copyright file says: " + package.licence);
  out.set("sourceInfo", "built from the Debian source package " + package.source);
  Json reference = Json::object();
  reference.set("referenceCategory", "PACKAGE-MANAGER");
  reference.set("referenceType", "purl");
  reference.set("referenceLocator", fmt::format("pkg:deb/debian/{}@{}?arch={}", purl_text(package.name),
                                                purl_text(package.version), package.architecture));
  Json references = Json::array();
  references.push(std::move(reference));
  out.set("externalRefs", std::move(references));
  return out;
}

}  // namespace

std::string spdx_licence(std::string_view debian) {
  static const std::map<std::string_view, std::string_view> kSame{
      {"Apache-2.0", "Apache-2.0"},
      {"BSD-2-clause", "BSD-2-Clause"},
      {"BSD-3-clause", "BSD-3-Clause"},
      {"BSL-1.0", "BSL-1.0"},
      {"Expat", "MIT"},
      {"GPL-2", "GPL-2.0-only"},
      {"GPL-2+", "GPL-2.0-or-later"},
      {"GPL-3+", "GPL-3.0-or-later"},
      {"ISC", "ISC"},
      {"LGPL-2.1", "LGPL-2.1-only"},
      {"LGPL-2.1+", "LGPL-2.1-or-later"},
      {"LGPL-3+", "LGPL-3.0-or-later"},
      {"MIT", "MIT"},
      {"curl", "curl"},
      {"zlib", "Zlib"},
      {"LGPL-2+", "LGPL-2.0-or-later"},
      {"Zlib", "Zlib"},
      {"PostgreSQL", "PostgreSQL"},
  };
  const auto found = kSame.find(debian);
  return found == kSame.end() ? "" : std::string(found->second);
}

std::string spdx_document(const SbomSubject& subject, const std::vector<SbomFile>& given) {
  std::vector<SbomFile> files = given;
  std::ranges::sort(files, {}, &SbomFile::path);
  const std::string own_id = spdx_id("Package", subject.name);
  std::map<std::string, Json> packages;
  packages.emplace(own_id, package_json(own_id, subject.name, subject.version));
  Json file_list = Json::array(), relations = Json::array();
  relations.push(relation("SPDXRef-DOCUMENT", "DESCRIBES", own_id));
  std::string content = subject.name + subject.version;
  for (const SbomFile& file : files) {
    const std::string id = spdx_id("File", file.path);
    content += file.path + file.sha256;
    Json sum = Json::object();
    sum.set("algorithm", "SHA256");
    sum.set("checksumValue", file.sha256);
    Json sums = Json::array();
    sums.push(std::move(sum));
    Json entry = Json::object();
    entry.set("SPDXID", id);
    entry.set("fileName", "./" + file.path);
    entry.set("checksums", std::move(sums));
    entry.set("licenseConcluded", kUnknown);
    entry.set("copyrightText", kUnknown);
    if (!file.ours && !file.package) entry.set("comment", "no Debian package of the build machine has this file");
    file_list.push(std::move(entry));
    std::string holder = own_id;
    if (file.package) {
      holder = spdx_id("Package-deb", file.package->name);
      if (packages.emplace(holder, debian_json(holder, *file.package)).second) {
        relations.push(relation(own_id, "DEPENDS_ON", holder));
      }
    }
    relations.push(relation(holder, "CONTAINS", id));
  }
  Json creators = Json::array();
  creators.push("Tool: trustbridge-" + subject.version);
  Json creation = Json::object();
  creation.set("created", to_rfc3339(subject.created_s * 1000));
  creation.set("creators", std::move(creators));
  Json package_list = Json::array();
  for (auto& [id, package] : packages) package_list.push(std::move(package));

  Json out = Json::object();
  out.set("spdxVersion", "SPDX-2.3");
  out.set("dataLicense", "CC0-1.0");
  out.set("SPDXID", "SPDXRef-DOCUMENT");
  out.set("name", subject.name + "-" + subject.version);
  // A name for this very content: nobody has to answer there.
  out.set("documentNamespace",
          fmt::format("https://trustbridge.invalid/spdx/{}-{}", subject.name, to_hex(sha256(content))));
  out.set("creationInfo", std::move(creation));
  out.set("packages", std::move(package_list));
  out.set("files", std::move(file_list));
  out.set("relationships", std::move(relations));
  return out.pretty() + "\n";
}

}  // namespace tb::oci
