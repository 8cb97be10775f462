"""A skill for tests: it holds a conversation and asks back, and runs only under a real OVOS."""

from ovos_bus_client.session import SessionManager
from ovos_utils import classproperty
from ovos_utils.process_utils import RuntimeRequirements
from ovos_workshop.decorators import intent_handler
from ovos_workshop.skills.converse import ConversationalSkill


def session_of(message):
    return SessionManager.get(message).session_id


class Parrot(ConversationalSkill):
    """After "be a parrot" it repeats everything said in this session, until "that is enough"."""

    @classproperty
    def runtime_requirements(self):
        """Needs nothing, so that it is loaded with the first."""
        return RuntimeRequirements(
            internet_before_load=False,
            network_before_load=False,
            requires_internet=False,
            requires_network=False,
            no_internet_fallback=True,
            no_network_fallback=True,
        )

    def initialize(self):
        self.repeating = set()

    @intent_handler("parrot.intent")
    def begin(self, message):
        self.repeating.add(session_of(message))
        self.speak("I am a parrot")

    @intent_handler("knock.intent")
    def knock(self, message):
        name = self.get_response("who_is_there", num_retries=0)
        self.speak(f"welcome {name}" if name else "nobody")

    def can_converse(self, message):
        return session_of(message) in self.repeating

    def converse(self, message):
        heard = message.data["utterances"][0]
        if not self.can_converse(message):
            return False
        if "enough" in heard:
            self.repeating.discard(session_of(message))
            self.speak("silence")
        else:
            self.speak(f"you said {heard}")
        return True
