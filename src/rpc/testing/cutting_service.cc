#include "rpc/testing/cutting_service.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "rpc/testing/server_test_peer.h"
#include "rt/sync.h"
#include "wire/messages.h"

namespace benchfs::rpc::testing {
namespace {

// Gives other requests time to interleave; not a way to wait for an event.
rt::WaitQueue::Awaiter interleave(std::uint64_t milliseconds) {
  return rt::sleep_for(std::chrono::milliseconds(milliseconds));  // lint: allow sleep (see above)
}

}  // namespace

std::string_view to_string(Cut cut) {
  constexpr std::array<std::string_view, kCuts> kNames = {"never",
                                                          "before sending",
                                                          "before arrival",
                                                          "given up",
                                                          "evicted",
                                                          "queued",
                                                          "before execution",
                                                          "running",
                                                          "before reply",
                                                          "after reply",
                                                          "after reply, unread",
                                                          "during reconnection"};
  return kNames[static_cast<std::size_t>(cut)];
}

Result<CuttingService::Asked> CuttingService::parse(const Request& request) {
  wire::Reader reader = request.reader();
  Asked asked;
  std::uint64_t cut = 0;
  if (request.opcode() == wire::Opcode::kMkdir) {
    wire::MkdirRequest body;
    reader.read(body);
    asked = {body.parent, Cut::kNever, {Operation::Kind::kCreate, {}, {}}};
    asked.operation.name = reader.read_text(body.name_bytes);
    cut = body.mode;
  } else if (request.opcode() == wire::Opcode::kRename) {
    wire::RenameRequest body;
    reader.read(body);
    asked = {body.old_parent, Cut::kNever, {Operation::Kind::kRename, {}, {}}};
    asked.operation.name = reader.read_text(body.old_name_bytes);
    asked.operation.to = reader.read_text(body.new_name_bytes);
    cut = body.new_parent;
  } else if (request.opcode() == wire::Opcode::kAppend) {
    wire::AppendRequest body;
    reader.read(body);
    asked = {body.inode, Cut::kNever, {Operation::Kind::kAppend, {}, {}}};
    cut = body.length;
  } else {
    return fail(Errc::kUnknownOpcode, {});
  }
  if (!reader.ok() || cut >= kCuts || asked.call >> 32 >= kMaxClients) {
    return fail(Errc::kMalformed, {});
  }
  asked.cut = static_cast<Cut>(cut);
  return asked;
}

rt::Task<void> CuttingService::handle(Request& request) {
  if (request.opcode() == wire::Opcode::kPing) {
    co_return co_await request.reply(wire::NoReply{});
  }
  Result<Asked> asked = parse(request);
  if (!asked) {
    co_return co_await request.reply_error(asked.error());
  }
  if (!seen_.insert(asked->call).second) {
    asked->cut = Cut::kNever;  // executed again, which is for the history to show
  }
  cut_if(request, *asked, Cut::kQueued);
  bool waits = asked->cut != Cut::kNever && asked->cut != Cut::kAfterReplyUnread;
  if (waits) {
    (void)co_await interleave(asked->cut == Cut::kGivenUp ? 20 : 1);
  }
  cut_if(request, *asked, Cut::kBeforeExecution);
  cut_if(request, *asked, Cut::kDuringReconnection);
  Outcome outcome = execute(*asked);
  cut_if(request, *asked, Cut::kRunning);
  if (asked->cut == Cut::kRunning || asked->cut == Cut::kDuringReconnection) {
    (void)co_await interleave(10);
  }
  cut_if(request, *asked, Cut::kBeforeReply);
  co_await answer(request, *asked, outcome);
  cut_if(request, *asked, Cut::kAfterReply);
  cut_if(request, *asked, Cut::kAfterReplyUnread);
  if (asked->cut == Cut::kAfterReplyUnread) {
    replied_[asked->call >> 32] = asked->call;
  }
}

Outcome CuttingService::execute(const Asked& asked) {
  Outcome outcome = names_.apply(asked.call, asked.operation);
  history_.executed(asked.call, outcome);
  return outcome;
}

rt::Task<void> CuttingService::answer(Request& request, const Asked& asked, Outcome outcome) {
  if (outcome.error != 0) {
    co_await request.reply_error(Error::from_errno(outcome.error));
  } else if (asked.operation.kind == Operation::Kind::kCreate) {
    wire::EntryReply reply;
    reply.attr.inode = outcome.value;
    co_await request.reply(reply);
  } else if (asked.operation.kind == Operation::Kind::kAppend) {
    co_await request.reply(wire::AppendReply{.offset = outcome.value});
  } else {
    co_await request.reply(wire::NoReply{});
  }
}

void CuttingService::cut(const Request& request, Cut when) {
  Session* session = server_->registry().peek(request.session_id());
  if (session == nullptr) {
    return;  // another request was faster
  }
  ++cuts_[static_cast<std::size_t>(when)];
  if (when == Cut::kDuringReconnection) {
    cut_when_registered_.push_back(request.client_uid());
  }
  ServerTestPeer::disconnect(*server_, session->client_id);
}

void CuttingService::on_client_registered(wire::SessionId, std::uint64_t client_uid) {
  if (std::erase(cut_when_registered_, client_uid) > 0) {
    cut_new_.uids.push_back(client_uid);
    if (cut_new_.uids.size() == 1) {
      reactor_->post(cut_new_);
    }
  }
}

void CuttingService::CutNew::on_mail() {
  std::vector<std::string> ids;
  service.server_->registry().for_each([&](const Session& session) {
    if (std::ranges::find(uids, session.client_uid) != uids.end()) {
      ids.push_back(session.client_id);
    }
  });
  uids.clear();
  for (const std::string& id : ids) {
    ServerTestPeer::disconnect(*service.server_, id);
  }
}

}  // namespace benchfs::rpc::testing
