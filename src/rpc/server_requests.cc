// The requests of a Server's clients: from the message to the end of its handler.
#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "rpc/server.h"
#include "wire/ping.h"

namespace benchfs::rpc {
namespace {

// A caller's deadline less the time that the answer needs, so that a request whose work waits for
// another server until then is answered in time, with the name of that server.
Deadline reply_by(MonoTime arrived, std::uint32_t deadline_ms) {
  constexpr std::uint32_t kPart = 16;
  constexpr std::uint32_t kMostMs = 250;
  return Deadline::at(
      arrived + std::chrono::milliseconds(deadline_ms - std::min(deadline_ms / kPart, kMostMs)));
}

bool is_heartbeat(wire::Opcode opcode, const wire::RequestHeader& header) {
  return opcode == wire::Opcode::kPing &&
         wire::RequestId{header.request_id}.slot() == wire::kHeartbeatSlot;
}

}  // namespace

link::Disposition Server::on_message(const link::Incoming& message) {
  auto opcode = static_cast<wire::Opcode>(message.id);
  if (message.id == 0 || message.id > wire::kMaxRequestOpcode) {  // through the door, or forwarded
    drop_unattributed(message);
  } else if (opcode == wire::Opcode::kRegister) {
    on_register(message);
  } else if (opcode == wire::Opcode::kGoodbye) {
    on_goodbye(message);
  } else if (opcode == wire::Opcode::kInvalidateAck) {
    on_invalidate_ack(message);
  } else if (wire::is_notice(opcode)) {
    on_notice(opcode, message);
  } else if (opcode == wire::Opcode::kForward) {
    return on_forward(message);
  } else {
    return on_request(opcode, message);
  }
  return link::Disposition::kDone;
}

// A message that names no session. Through the door, where each call waits for its answer, it is
// not the mistake of a client that was evicted.
void Server::drop_unattributed(const link::Incoming& message) {
  ++stats_.unattributed;
  admission_.drop_sender(message);
  if (message.sender == nullptr || message.sender->way() != link::Way::kDoor) {
    return;
  }
  if (auto found = sessions_.find(message.sender); found != sessions_.end()) {
    end_session(*registry_.peek(found->second), wire::CloseReason::kError, Departure::kLost);
  }
}

void Server::on_invalidate_ack(const link::Incoming& message) {
  wire::InvalidateAckHeader header;
  wire::Reader reader(message.header);
  if (!reader.read(header) || registry_.peek(wire::SessionId{header.session_id}) == nullptr) {
    ++stats_.unattributed;
    return;
  }
  service_.on_invalidate_ack(wire::SessionId{header.session_id}, header.sequence);
}

// Answered at once whatever the session does, also while it drains and while the server stops: a
// server that is alive must not be taken for a dead one.
void Server::on_heartbeat(Session& session,
                          const wire::RequestHeader& header,
                          const link::Incoming& message) {
  bool is_plain = header.flags == 0 && message.length == 0;
  ++(is_plain ? stats_.heartbeats : stats_.malformed);
  answer(session, message.id, header, is_plain ? Errc::kOk : Errc::kMalformed);
}

void Server::on_notice(wire::Opcode opcode, const link::Incoming& message) {
  wire::NoticeHeader header;
  wire::Reader reader(message.header);
  Session* session =
      reader.read(header) ? registry_.get(wire::SessionId{header.session_id}) : nullptr;
  if (session == nullptr) {
    ++stats_.unattributed;
    admission_.drop_sender(message);
    return;
  }
  bool fits = message.length == 0 && message.header.size() <= wire::kMaxHeaderBytes;
  if (!fits || !service_.on_notice(session->id, session->client_uid, opcode, reader)) {
    ++stats_.malformed;
    return;
  }
  ++stats_.notices;
  ++request_stats_.operation(opcode).requests;
}

// From a shard that forwards for a program of its node, or from a program of this node.
link::Disposition Server::on_forward(const link::Incoming& message) {
  wire::ForwardHeader outer;
  bool is_read = wire::Reader(message.header).read(outer);
  bool is_inside = message.sender != nullptr && message.sender->way() == link::Way::kForwarded;
  Session* carrier = is_read && !is_inside && outer.session_id != 0
                         ? registry_.get(wire::SessionId{outer.session_id})
                         : nullptr;
  if (carrier != nullptr) {
    return forwarded_links_.on_message(*carrier->link, outer, message);
  }
  bool is_program = message.sender != nullptr && message.sender->way() == link::Way::kDoor;
  if (is_program && (!is_read || outer.session_id == 0)) {
    on_program_forward(message);
  } else {
    drop_unattributed(message);
  }
  return link::Disposition::kDone;
}

void Server::on_program_forward(const link::Incoming& message) {
  link::Link& program = *message.sender;
  if (auto session = sessions_.find(&program); session != sessions_.end()) {
    ++stats_.malformed;
    end_session(*registry_.peek(session->second), wire::CloseReason::kError, Departure::kLost);
    return;
  }
  bool is_first = admission_.release(program);
  bool is_taken = forwarder_ != nullptr && forwarder_->on_message(message);
  if (is_first && !is_taken) {
    program.close();
  }
}

link::Disposition Server::on_request(wire::Opcode opcode, const link::Incoming& message) {
  OperationStats& operation = request_stats_.operation(opcode);
  MonoTime seen = operation.stamp();
  wire::RequestHeader header;
  wire::Reader reader(message.header);
  Session* session =
      reader.read(header) ? registry_.get(wire::SessionId{header.session_id}) : nullptr;
  if (session == nullptr) [[unlikely]] {
    drop_unattributed(message);
    return link::Disposition::kDone;
  }
  if (is_heartbeat(opcode, header)) [[unlikely]] {
    on_heartbeat(*session, header, message);
    return link::Disposition::kDone;
  }
  if (session->is_draining) [[unlikely]] {
    ++stats_.postponed;  // the notice of its eviction, which comes after the replies, says so
    return link::Disposition::kDone;
  }
  Errc code = check_request(header, *session, message);
  if (code != Errc::kOk) [[unlikely]] {
    answer(*session, message.id, header, code);
    return link::Disposition::kDone;
  }
  ReplyHistory::Slot* kept = nullptr;
  if (!wire::is_idempotent(opcode)) {
    ReplyHistory::Lookup found = session->history->find(wire::RequestId{header.request_id});
    if (found.verdict != ReplyHistory::Verdict::kNew) [[unlikely]] {
      on_repeated(opcode, *session, found);
      return link::Disposition::kDone;
    }
    kept = found.slot;
  }
  ++stats_.in_flight;
  ++session->requests;
  MonoTime arrived = mono_now_coarse();
  registry_.begin_request(*session, arrived);
  Request* request = take_request();
  link::Disposition disposition = request->begin(message,
                                                 {.opcode = opcode,
                                                  .id = wire::RequestId{header.request_id},
                                                  .session = *session,
                                                  .deadline = reply_by(arrived, header.deadline_ms),
                                                  .kept = kept,
                                                  .arrived = arrived,
                                                  .seen = seen},
                                                 operation);
  if (disposition != link::Disposition::kDone) {
    worker_.reactor().schedule(serve(request).handle);
    return disposition;
  }
  request->trace().on_served();
  if (!service_.serve_at_once(*request)) {
    serve(request).handle.resume();
  } else if (request->sending() == nullptr) [[likely]] {
    end(request);
  } else {
    end_when_sent(request).handle.resume();
  }
  return disposition;
}

// The request was seen before, over a connection that is gone. Its client waits for the reply here.
void Server::on_repeated(wire::Opcode opcode, Session& session, const ReplyHistory::Lookup& found) {
  ++stats_.repeated;
  if (found.verdict == ReplyHistory::Verdict::kAnswered) {
    post(session,
         wire::reply_am_id(opcode),
         std::span(found.slot->reply).first(found.slot->reply_bytes));
  } else if (found.verdict == ReplyHistory::Verdict::kRunning) {
    Request& request = *found.slot->running;
    if (Session* before = registry_.peek(request.session_id())) {
      end_request(*before);
    }
    request.answer_to(session.id);
    registry_.begin_request(session, mono_now_coarse());
  }
}

Errc Server::check_request(const wire::RequestHeader& header,
                           const Session& session,
                           const link::Incoming& message) {
  std::size_t most = config_.max_transfer_bytes;
  if (message.length > most && message.id == static_cast<std::uint16_t>(wire::Opcode::kPing))
      [[unlikely]] {
    most = wire::kMaxPingBytes;
  }
  if (header.flags != 0 || wire::RequestId{header.request_id}.slot() >= wire::kMaxWindow ||
      message.header.size() > wire::kMaxHeaderBytes || message.length > most ||
      (!message.can_hold && message.header.size() + message.length > Request::kMaxCopied))
      [[unlikely]] {
    ++stats_.malformed;
    return Errc::kMalformed;
  }
  if (stopping_) [[unlikely]] {
    return Errc::kNotReady;
  }
  if (session.in_flight >= 2 * config_.window || stats_.in_flight >= config_.max_requests)
      [[unlikely]] {
    ++stats_.overloaded;
    return Errc::kBusy;
  }
  return Errc::kOk;
}

// Answers without a request object.
void Server::answer(Session& session,
                    std::uint16_t message_id,
                    const wire::RequestHeader& header,
                    Errc code) {
  wire::ReplyHeader reply;
  reply.request_id = header.request_id;
  reply.transport = static_cast<std::uint16_t>(code);
  post(session,
       wire::reply_am_id(static_cast<wire::Opcode>(message_id)),
       std::as_bytes(std::span(&reply, 1)));
}

rt::DetachedTask Server::serve(Request* request) {
  if (request->trace().phase() == Phase::kQueued) {
    request->trace().on_served();
  }
  co_await service_.handle(*request);
  if (!request->is_answered()) {
    BENCHFS_LOG(kError, "no reply to {}; answering for it", to_string(request->opcode()));
    co_await request->reply_error(Error{Errc::kInternal, 0, {}});
  }
  end(request);
}

rt::DetachedTask Server::end_when_sent(Request* request) {
  (void)co_await link::Completion{*request->sending()};
  request->end_reply();
  end(request);
}

void Server::end(Request* request) {
  request->drop_data();
  if (Session* session = registry_.peek(request->session_id())) {
    end_request(*session);
  }
  give_request(request);
  if (--stats_.in_flight == 0) {
    idle_.wake_all();
  }
}

Request* Server::take_request() {
  if (free_requests_.empty()) {
    requests_.push_back(std::make_unique<Request>(replies_));
    return requests_.back().get();
  }
  Request* request = free_requests_.back();
  free_requests_.pop_back();
  return request;
}

void Server::give_request(Request* request) {
  request->trace().end();
  free_requests_.push_back(request);
}

void Server::end_request(Session& session) {
  registry_.end_request(session);
  if (session.is_draining && session.in_flight == 0) [[unlikely]] {
    evict(session);
  }
}

}  // namespace benchfs::rpc
