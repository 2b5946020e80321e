//! The rules for which content stands under a name, decided in one place. Pure: no clock, no I/O, no lock.
//!
//! The original doesn't ask this: two contents under one name would mix. Here the tracker keeps one record for each name
//! and asks [`decide`] whenever a peer publishes. The worst outcome isn't a slow transfer but thirty machines that report
//! success with last week's image; so if two rules disagree, the one that avoids a false success wins.
//!
//! 1. While the publisher is here and still has its file, nobody else's different content replaces it, except by rule 4.
//! 2. The publisher may change its mind: its own new version replaces the old one at once, and so does its corrected
//!    list of checkpoints.
//! 3. A received copy never competes with a user's own file: it is taken only if nothing stands, or if what stands is
//!    known to be older and unpinned, and its publisher has left. An own file replaces a content whose publisher has left.
//! 4. A pin is the operator's decision: a pinned own file replaces an unpinned content, and a pinned content yields
//!    only to its publisher or to another pinned own file.
//! 5. A tracker that has just started replaces nothing that it loaded until its peers have had time to come back; the
//!    publisher is back once it publishes from the address that it had.
//!
//! What follows at a peer is in [`crate::state`]:
//! - It takes a new version at once, keeps the blocks that are the same in both, and from the moment that a file is seen to
//!   change, nobody unpinned ends with the old version.
//! - An own file that a tracker which has just started doesn't take yet is offered again, and counts as coming meanwhile.
//! - A pinned peer shares, fetches and reports no other content under that name. What gave way to a later pin isn't offered as
//!   pinned again while the publisher of that is here.
//! - A file that an earlier run received isn't reported as done while its publisher is away, as a newer version may come: the
//!   user pins it, or starts the publisher.
//! - A file that the user deletes or moves away isn't fetched again in the same run, nor one that was overwritten with what is
//!   deleted next.
//! - Whatever ends with 0 unpinned says when and by whom its content was published, and whether that publisher is here.

use crate::md5::Digest;

/// What a record says about the content that stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingContent {
    /// Its size, bytes.
    pub size: u64,
    /// The content's MD5.
    pub md5: Digest,
    /// The MD5 of its list of checkpoints; `None` if the record is too old to have one.
    pub checkpoints: Option<Digest>,
    /// When it was published, seconds since 1970.
    pub published: u64,
    /// Whether its publisher pinned it.
    pub pinned: bool,
    /// Whether its publisher is known by a key. A record that was restored from a received copy has none.
    pub keyed: bool,
    /// Whether its publisher is here now and still has it.
    pub publisher_is_here: bool,
    /// Whether the tracker loaded it from its disk so recently that its peers may not be back yet.
    pub settling: bool,
}

/// The publisher of an offer, as seen from the record that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offerer {
    /// The publisher of what stands, known by its key.
    Publisher,
    /// A peer with the publisher's key while the publisher is here at another address: a copied folder.
    CopiedFolder,
    /// Any other peer.
    Another,
}

/// A content that a peer publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its size, bytes.
    pub size: u64,
    /// The content's MD5.
    pub md5: Digest,
    /// The MD5 of its list of checkpoints.
    pub checkpoints: Digest,
    /// Whether it is the user's own file, and not received from a swarm.
    pub own: bool,
    /// Whether the user named its MD5.
    pub pinned: bool,
    /// When it was published, seconds since 1970, if it is a received copy.
    pub published: u64,
    /// What the tracker's clock says now, seconds since 1970.
    pub now: u64,
    /// The peer that publishes it.
    pub by: Offerer,
}

/// The result of an [`Offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stands from now on: nothing stood under the name before.
    New,
    /// It is the content that already stands.
    Same {
        /// Whether the sender is its publisher from now on: by its key, or because no publisher's key was known.
        credited: bool,
    },
    /// It is the same content with another list of checkpoints, which replaces the one that stands.
    Corrects,
    /// It stands from now on, in place of another content.
    Replaces,
    /// Another content stands and stays.
    Stays(Reason),
}

/// The reason why a content stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its publisher is here and still has it.
    PublisherIsHere,
    /// Its publisher is here; the sender has a copy of its folder.
    CopiedFolder,
    /// It is pinned.
    Pinned,
    /// The sender has a received copy, which isn't known to be a later one.
    Received,
    /// The tracker has just started.
    Settling,
}

/// Decides if a content that a peer publishes stands from now on.
pub fn decide(standing: Option<&StandingContent>, offer: &Offer) -> Verdict {
    let Some(standing) = standing else {
        return Verdict::New;
    };
    if (standing.size, standing.md5) == (offer.size, offer.md5) {
        return decide_same(standing, offer);
    }
    if standing.settling {
        return Verdict::Stays(Reason::Settling);
    }
    let pinned = offer.own && offer.pinned;
    let changed_its_mind = offer.own && offer.by == Offerer::Publisher;
    if changed_its_mind || pinned {
        return Verdict::Replaces;
    }
    if standing.pinned {
        return Verdict::Stays(Reason::Pinned);
    }
    if standing.publisher_is_here {
        return Verdict::Stays(match offer.by {
            Offerer::CopiedFolder => Reason::CopiedFolder,
            Offerer::Publisher | Offerer::Another => Reason::PublisherIsHere,
        });
    }
    if offer.own || is_later(offer, standing) {
        return Verdict::Replaces;
    }
    Verdict::Stays(Reason::Received)
}

/// Whether a received copy is known to be later than what stands. If it is dated ahead of the tracker's clock, another clock has
/// dated it, and it compares only with what is dated ahead, too.
fn is_later(offer: &Offer, standing: &StandingContent) -> bool {
    let of_one_clock = offer.published <= offer.now || standing.published > offer.now;
    of_one_clock && offer.published > standing.published
}

/// Decides about an offer of the same content: only its publisher may correct its list of checkpoints, or, if it no
/// longer has one, any peer that hashed a file of its own.
fn decide_same(standing: &StandingContent, offer: &Offer) -> Verdict {
    let credited = match offer.by {
        Offerer::Publisher => true,
        Offerer::CopiedFolder => false,
        Offerer::Another => offer.own && !standing.keyed,
    };
    let another_list = standing
        .checkpoints
        .is_some_and(|list| list != offer.checkpoints);
    let may_correct = credited || offer.own && !standing.publisher_is_here;
    if another_list && may_correct && !standing.settling {
        return Verdict::Corrects;
    }
    Verdict::Same { credited }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::digest;

    const LAST_WEEK: u64 = 1_000;
    const TODAY: u64 = 2_000;

    /// Last week's content, whose publisher is known by a key and has left.
    fn standing() -> StandingContent {
        StandingContent {
            size: 10,
            md5: digest(b"old"),
            checkpoints: Some(digest(b"old list")),
            published: LAST_WEEK,
            pinned: false,
            keyed: true,
            publisher_is_here: false,
            settling: false,
        }
    }

    /// The same, with its publisher here.
    fn here() -> StandingContent {
        StandingContent {
            publisher_is_here: true,
            ..standing()
        }
    }

    fn pinned(standing: StandingContent) -> StandingContent {
        StandingContent {
            pinned: true,
            ..standing
        }
    }

    fn settling(standing: StandingContent) -> StandingContent {
        StandingContent {
            settling: true,
            ..standing
        }
    }

    /// Another machine's own file with another content.
    fn own() -> Offer {
        Offer {
            size: 10,
            md5: digest(b"new"),
            checkpoints: digest(b"new list"),
            own: true,
            pinned: false,
            published: 0,
            now: TODAY + 10,
            by: Offerer::Another,
        }
    }

    fn by(by: Offerer, offer: Offer) -> Offer {
        Offer { by, ..offer }
    }

    fn pin(offer: Offer) -> Offer {
        Offer {
            pinned: true,
            ..offer
        }
    }

    /// Another content that came from a swarm, published at `published`.
    fn received(published: u64) -> Offer {
        Offer {
            own: false,
            published,
            ..own()
        }
    }

    /// What stands, offered again.
    fn same(offer: Offer) -> Offer {
        Offer {
            md5: digest(b"old"),
            checkpoints: digest(b"old list"),
            ..offer
        }
    }

    #[test]
    fn every_situation_has_its_outcome() {
        use Offerer::{CopiedFolder, Publisher};
        use Reason::{PublisherIsHere, Received, Settling};
        use Verdict::{New, Replaces, Same, Stays};
        let stays = |reason| Stays(reason);
        let not_mine = Same { credited: false };
        let mine = Same { credited: true };
        let unkeyed = StandingContent {
            keyed: false,
            ..standing()
        };
        for (situation, standing, offer, outcome) in [
            ("seed first: nothing stands", None, own(), New),
            (
                "stale machine first: its received copy stands",
                None,
                received(LAST_WEEK),
                New,
            ),
            (
                "then the seed comes, a new publisher",
                Some(standing()),
                own(),
                Replaces,
            ),
            (
                "seed first, then a stale received copy",
                Some(here()),
                received(LAST_WEEK),
                stays(PublisherIsHere),
            ),
            (
                "however late that claims to be",
                Some(here()),
                received(TODAY + 9),
                stays(PublisherIsHere),
            ),
            (
                "two own files, the second one",
                Some(here()),
                own(),
                stays(PublisherIsHere),
            ),
            (
                "two own files, the first one's publisher has left",
                Some(standing()),
                own(),
                Replaces,
            ),
            (
                "two own files, the second one pinned",
                Some(here()),
                pin(own()),
                Replaces,
            ),
            (
                "two own files, the first one pinned",
                Some(pinned(here())),
                own(),
                stays(Reason::Pinned),
            ),
            (
                "two own files, both pinned",
                Some(pinned(here())),
                pin(own()),
                Replaces,
            ),
            (
                "a pinned content whose publisher has left",
                Some(pinned(standing())),
                own(),
                stays(Reason::Pinned),
            ),
            (
                "a received copy is never pinned in",
                Some(here()),
                pin(received(TODAY)),
                stays(PublisherIsHere),
            ),
            (
                "nor over a pinned one",
                Some(pinned(standing())),
                pin(received(TODAY)),
                stays(Reason::Pinned),
            ),
            (
                "the publisher has a new version",
                Some(standing()),
                by(Publisher, own()),
                Replaces,
            ),
            (
                "also of what it pinned before",
                Some(pinned(standing())),
                by(Publisher, own()),
                Replaces,
            ),
            (
                "also while it still lists the old one",
                Some(here()),
                by(Publisher, own()),
                Replaces,
            ),
            (
                "rollback: its own earlier version again",
                Some(standing()),
                by(Publisher, own()),
                Replaces,
            ),
            (
                "its folder has a copy that it received",
                Some(here()),
                by(Publisher, received(TODAY)),
                stays(PublisherIsHere),
            ),
            (
                "a copied folder with another version",
                Some(here()),
                by(CopiedFolder, own()),
                stays(Reason::CopiedFolder),
            ),
            (
                "a copied folder with the same version",
                Some(here()),
                same(by(CopiedFolder, own())),
                not_mine,
            ),
            (
                "the publisher back at another port",
                Some(standing()),
                same(by(Publisher, own())),
                mine,
            ),
            (
                "another machine that has the same file",
                Some(here()),
                same(own()),
                not_mine,
            ),
            (
                "a copy of what stands",
                Some(here()),
                same(received(LAST_WEEK)),
                not_mine,
            ),
            (
                "of two received copies the later one",
                Some(standing()),
                received(TODAY),
                Replaces,
            ),
            (
                "of two received copies the earlier one",
                Some(standing()),
                received(LAST_WEEK - 1),
                stays(Received),
            ),
            (
                "of two received copies of one time",
                Some(standing()),
                received(LAST_WEEK),
                stays(Received),
            ),
            (
                "of two received copies one that is dated ahead of the tracker's clock",
                Some(standing()),
                received(TODAY + 11),
                stays(Received),
            ),
            (
                "of two that are dated so the later one",
                Some(StandingContent {
                    published: TODAY + 11,
                    ..standing()
                }),
                received(TODAY + 12),
                Replaces,
            ),
            (
                "next week, another machine, the old seed on",
                Some(here()),
                own(),
                stays(PublisherIsHere),
            ),
            (
                "next week, another machine, the old seed off",
                Some(standing()),
                own(),
                Replaces,
            ),
            (
                "the tracker restarted: somebody else's",
                Some(settling(standing())),
                own(),
                stays(Settling),
            ),
            (
                "the tracker restarted: pinned",
                Some(settling(standing())),
                pin(own()),
                stays(Settling),
            ),
            (
                "the tracker restarted: the publisher's new one",
                Some(settling(here())),
                by(Publisher, own()),
                stays(Settling),
            ),
            (
                "the tracker restarted: what stands",
                Some(settling(standing())),
                same(by(Publisher, own())),
                mine,
            ),
            (
                "the tracker lost its data: the publisher's own file after a received copy",
                Some(unkeyed),
                same(own()),
                mine,
            ),
            (
                "the tracker lost its data: its newer one after a received copy",
                Some(unkeyed),
                own(),
                Replaces,
            ),
            (
                "the tracker lost its data: a received copy after a received copy",
                Some(unkeyed),
                same(received(LAST_WEEK)),
                not_mine,
            ),
        ] {
            assert_eq!(decide(standing.as_ref(), &offer), outcome, "{situation}");
        }
    }

    #[test]
    fn only_who_may_correct_a_list_of_checkpoints_does() {
        let corrected = |offer: Offer| Offer {
            checkpoints: digest(b"corrected"),
            ..same(offer)
        };
        let received = Offer {
            own: false,
            ..own()
        };
        for (who, standing, offer, corrects) in [
            ("its publisher", here(), by(Offerer::Publisher, own()), true),
            ("somebody else", here(), own(), false),
            (
                "a copied folder",
                here(),
                by(Offerer::CopiedFolder, own()),
                false,
            ),
            (
                "an own file, its publisher has left",
                standing(),
                own(),
                true,
            ),
            ("a received copy", standing(), received, false),
            (
                "its publisher, to a tracker that has just started",
                settling(here()),
                by(Offerer::Publisher, own()),
                false,
            ),
        ] {
            let verdict = decide(Some(&standing), &corrected(offer));
            assert_eq!(verdict == Verdict::Corrects, corrects, "{who}: {verdict:?}");
        }
        let listless = StandingContent {
            checkpoints: None,
            ..here()
        };
        let verdict = decide(Some(&listless), &same(own()));
        assert_eq!(verdict, Verdict::Same { credited: false });
    }
}
