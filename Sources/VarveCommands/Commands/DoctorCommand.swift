internal import ArgumentParser
internal import Glibc
internal import Varve

/// `varve doctor`
struct DoctorCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Show what this host allows: dirty tracking, faults, limits.",
        discussion: """
            Exits with 2 where stores can't work here at all.

            Example:
              varve doctor
            """)

    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let findings = Self.findings(HostCapabilities.current)
        let works = findings.allSatisfy { $0.status != .missing }
        let lines = findings.map { finding in
            "\(finding.status.mark) \(finding.name): \(Printable.text(finding.value))"
                + (finding.advice.isEmpty ? "" : "\n      \(finding.advice)")
        }
        try output.show(
            console,
            json: .object([("ok", .bool(works)), ("checks", .array(findings.map(\.json)))]),
            text: lines.joined(separator: "\n") + (works ? "\nStores work here." : "\nStores don't work here."))
        return works ? .success : .failure
    }

    private static func findings(_ host: HostCapabilities) -> [HostFinding] {
        let pageSizeFits = host.pageSize == Page.size
        var files = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
        return [
            HostFinding("kernel", .good, host.kernelRelease),
            HostFinding(
                "page_size", pageSizeFits ? .good : .missing, "\(host.pageSize)",
                pageSizeFits ? "" : "Stores have pages of \(Page.size) bytes: use a host with these"),
            HostFinding("dirty_tracking", .good, host.preferredTracking.rawValue),
            HostFinding(
                "async_write_protect", host.asyncWriteProtect ? .good : .limited,
                host.asyncWriteProtect ? "yes" : "no: \(host.asyncWriteProtectReason)",
                host.asyncWriteProtect
                    ? "" : "First writes to pages cost more. Linux 6.7 or later has it; containers may forbid userfaultfd"),
            HostFinding(
                "demand_faults", host.demandFaults ? .good : .limited,
                host.demandFaults ? "yes" : "no: \(host.demandFaultsReason)",
                host.demandFaults ? "" : "Scattered pages are copied when an object is mapped, which takes longer"),
            HostFinding(
                "maximum_mappings", host.maximumMappings >= 65530 ? .good : .limited, "\(host.maximumMappings)",
                host.maximumMappings >= 65530 ? "" : "Raise it: sysctl vm.max_map_count=65530"),
            HostFinding(
                "open_files", files.rlim_cur >= 256 ? .good : .limited, "\(files.rlim_cur)",
                files.rlim_cur >= 256 ? "" : "Raise it: ulimit -n 1024"),
            HostFinding(
                "huge_pages", .good, host.transparentHugePages.isEmpty ? "not in this kernel" : host.transparentHugePages),
        ]
    }
}

/// One thing that the doctor looked at.
private struct HostFinding {
    enum Status: String {
        case good = "ok"
        case limited, missing

        var mark: String {
            switch self {
            case .good: "ok   "
            case .limited: "less "
            case .missing: "NO   "
            }
        }
    }

    let name: String
    let status: Status
    let value: String
    let advice: String

    init(_ name: String, _ status: Status, _ value: String, _ advice: String = "") {
        self.name = name
        self.status = status
        self.value = value
        self.advice = advice
    }

    var json: JSON {
        .object([
            ("name", .string(name)), ("status", .string(status.rawValue)), ("value", .string(value)),
            ("advice", .string(advice)),
        ])
    }
}
